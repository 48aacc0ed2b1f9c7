#include <stddef.h>
#include <stdint.h>

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define PARAMETERS void *const *buffers, const int64_t *sizes, int64_t step, int32_t thread, \
    const int64_t *block, int64_t begin, int64_t end, char *kept, char *scratch
#define KEPT 192
#define ZEROED 0
#define OF_A_THREAD 896
#define OF_ALL 0

#define UNROLL _Pragma("GCC unroll 32")
/* Into the second-level cache: into the first, it was slower than not at all. */
#define PREFETCH(p) __builtin_prefetch(p, 0, 2)
/* Hold a loaded vector in a register: gcc else loads it again for every product. */
#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define KEEP(x) __asm__("" : "+w"(x))
#else
#define KEEP(x)
#endif
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

typedef float f32x2 __attribute__((vector_size(8)));
typedef float f32x2u __attribute__((vector_size(8), aligned(4), may_alias));

static inline f32x2 f32x2_load(const float *p) { return *(const f32x2u *)p; }
static inline void f32x2_store(float *p, f32x2 v) { *(f32x2u *)p = v; }
/* The first `count` lanes; the others are 0. */
static inline f32x2 f32x2_tail(const float *p, int64_t count) {
    f32x2 v = {0};
    __builtin_memcpy(&v, p, sizeof(float) * (size_t)count);
    return v;
}
/* `v` with 0 in the lanes from `count` on, whatever was there. */
static inline f32x2 f32x2_keep(f32x2 v, int64_t count) {
    typedef int32_t bits __attribute__((vector_size(8)));
    bits lane = {0, 1};
    return (f32x2)((bits)v & (lane < (int32_t)count));
}

static inline float f32x2_sum(f32x2 v) { return v[0] + v[1]; }

typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x4u __attribute__((vector_size(16), aligned(4), may_alias));

static inline f32x4 f32x4_load(const float *p) { return *(const f32x4u *)p; }
static inline void f32x4_store(float *p, f32x4 v) { *(f32x4u *)p = v; }
/* The first `count` lanes; the others are 0. */
static inline f32x4 f32x4_tail(const float *p, int64_t count) {
#if defined(__AVX512VL__) && !defined(__clang__)
    f32x4 v = {0};
    uint32_t m = ((uint32_t)1 << count) - 1;
    return __builtin_ia32_loadups128_mask(p, v, (uint8_t)m);
#else
    f32x4 v = {0};
    __builtin_memcpy(&v, p, sizeof(float) * (size_t)count);
    return v;
#endif
}
/* `v` with 0 in the lanes from `count` on, whatever was there. */
static inline f32x4 f32x4_keep(f32x4 v, int64_t count) {
    typedef int32_t bits __attribute__((vector_size(16)));
    bits lane = {0, 1, 2, 3};
    return (f32x4)((bits)v & (lane < (int32_t)count));
}

static inline float f32x4_sum(f32x4 v) {
    union { f32x4 whole; f32x2 halves[2]; } u = {v};
    return f32x2_sum(u.halves[0] + u.halves[1]);
}

static inline f32x4 f32x4_fold(f32x4 v) { return v; }

static inline f32x4 f32x4_groups(f32x4 a, f32x4 b, f32x4 c, f32x4 d) {
    const f32x4 p = SHUFFLE(a, b, 0, 4, 1, 5) + SHUFFLE(a, b, 2, 6, 3, 7);
    const f32x4 q = SHUFFLE(c, d, 0, 4, 1, 5) + SHUFFLE(c, d, 2, 6, 3, 7);
    return SHUFFLE(p, q, 0, 1, 4, 5) + SHUFFLE(p, q, 2, 3, 6, 7);
}
static inline f32x4 f32x4_sum4(f32x4 a, f32x4 b, f32x4 c, f32x4 d) {
    return f32x4_fold(f32x4_groups(a, b, c, d));
}

typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x8u __attribute__((vector_size(32), aligned(4), may_alias));

static inline f32x8 f32x8_load(const float *p) { return *(const f32x8u *)p; }
static inline void f32x8_store(float *p, f32x8 v) { *(f32x8u *)p = v; }
/* The first `count` lanes; the others are 0. */
static inline f32x8 f32x8_tail(const float *p, int64_t count) {
#if defined(__AVX512VL__) && !defined(__clang__)
    f32x8 v = {0};
    uint32_t m = ((uint32_t)1 << count) - 1;
    return __builtin_ia32_loadups256_mask(p, v, (uint8_t)m);
#else
    f32x8 v = {0};
    __builtin_memcpy(&v, p, sizeof(float) * (size_t)count);
    return v;
#endif
}
/* `v` with 0 in the lanes from `count` on, whatever was there. */
static inline f32x8 f32x8_keep(f32x8 v, int64_t count) {
    typedef int32_t bits __attribute__((vector_size(32)));
    bits lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return (f32x8)((bits)v & (lane < (int32_t)count));
}

static inline float f32x8_sum(f32x8 v) {
    union { f32x8 whole; f32x4 halves[2]; } u = {v};
    return f32x4_sum(u.halves[0] + u.halves[1]);
}

static inline f32x4 f32x8_fold(f32x8 v) {
    union { f32x8 whole; f32x4 halves[2]; } u = {v};
    return f32x4_fold(u.halves[0] + u.halves[1]);
}

static inline f32x8 f32x8_groups(f32x8 a, f32x8 b, f32x8 c, f32x8 d) {
    const f32x8 p = SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    const f32x8 q = SHUFFLE(c, d, 0, 8, 1, 9, 4, 12, 5, 13) + SHUFFLE(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
    return SHUFFLE(p, q, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(p, q, 2, 3, 10, 11, 6, 7, 14, 15);
}
static inline f32x4 f32x8_sum4(f32x8 a, f32x8 b, f32x8 c, f32x8 d) {
    return f32x8_fold(f32x8_groups(a, b, c, d));
}

static inline f32x8 f32x8_sum8(f32x8 a0, f32x8 a1, f32x8 a2, f32x8 a3, f32x8 a4, f32x8 a5, f32x8 a6, f32x8 a7) {
    const f32x8 p = f32x8_groups(a0, a1, a2, a3), q = f32x8_groups(a4, a5, a6, a7);
    return SHUFFLE(p, q, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(p, q, 4, 5, 6, 7, 12, 13, 14, 15);
}

typedef float f32x16 __attribute__((vector_size(64)));
typedef float f32x16u __attribute__((vector_size(64), aligned(4), may_alias));

static inline f32x16 f32x16_load(const float *p) { return *(const f32x16u *)p; }
static inline void f32x16_store(float *p, f32x16 v) { *(f32x16u *)p = v; }
/* The first `count` lanes; the others are 0. */
static inline f32x16 f32x16_tail(const float *p, int64_t count) {
#if defined(__AVX512F__) && !defined(__clang__)
    f32x16 v = {0};
    uint32_t m = ((uint32_t)1 << count) - 1;
    return __builtin_ia32_loadups512_mask(p, v, (uint16_t)m);
#else
    f32x16 v = {0};
    __builtin_memcpy(&v, p, sizeof(float) * (size_t)count);
    return v;
#endif
}
/* `v` with 0 in the lanes from `count` on, whatever was there. */
static inline f32x16 f32x16_keep(f32x16 v, int64_t count) {
    typedef int32_t bits __attribute__((vector_size(64)));
    bits lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return (f32x16)((bits)v & (lane < (int32_t)count));
}

static inline float f32x16_sum(f32x16 v) {
    union { f32x16 whole; f32x8 halves[2]; } u = {v};
    return f32x8_sum(u.halves[0] + u.halves[1]);
}

static inline f32x4 f32x16_fold(f32x16 v) {
    union { f32x16 whole; f32x8 halves[2]; } u = {v};
    return f32x8_fold(u.halves[0] + u.halves[1]);
}

static inline f32x16 f32x16_groups(f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
    const f32x16 p = SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) + SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    const f32x16 q = SHUFFLE(c, d, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) + SHUFFLE(c, d, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    return SHUFFLE(p, q, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) + SHUFFLE(p, q, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
static inline f32x4 f32x16_sum4(f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
    return f32x16_fold(f32x16_groups(a, b, c, d));
}

static inline f32x16 f32x16_sum16(f32x16 a0, f32x16 a1, f32x16 a2, f32x16 a3, f32x16 a4, f32x16 a5, f32x16 a6, f32x16 a7, f32x16 a8, f32x16 a9, f32x16 a10, f32x16 a11, f32x16 a12, f32x16 a13, f32x16 a14, f32x16 a15) {
    const f32x16 p = f32x16_groups(a0, a1, a2, a3), q = f32x16_groups(a4, a5, a6, a7);
    const f32x16 r = f32x16_groups(a8, a9, a10, a11), s = f32x16_groups(a12, a13, a14, a15);
    const f32x16 t = SHUFFLE(p, q, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) + SHUFFLE(p, q, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    const f32x16 u = SHUFFLE(r, s, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) + SHUFFLE(r, s, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    return SHUFFLE(t, u, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) + SHUFFLE(t, u, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

static inline f32x16 f32x16_add(f32x16 a, f32x16 b) { return a + b; }
static inline float f32x16_add_lanes(f32x16 v) { return f32x16_sum(v); }

static inline float f32x16_add_all(const float *p, int64_t count) {
    /* A vector would wait until the one number that was just written is in the cache. */
    if (count == 1) return p[0];
    f32x16 a = 0 - (f32x16){0}, b = a;
    int64_t k = 0;
    for (; k + 32 <= count; k += 32) {
        a = f32x16_add(a, f32x16_load(p + k));
        b = f32x16_add(b, f32x16_load(p + k + 16));
    }
    if (k + 16 <= count) {
        a = f32x16_add(a, f32x16_load(p + k));
        k += 16;
    }
    if (k < count) b = f32x16_add(b, f32x16_tail(p + k, count - k));
    return f32x16_add_lanes(f32x16_add(a, b));
}

static void linear_step_0_clear(char *kept) {
    {
        ((float *)(kept + 0))[0] = 0.0f;
    }
    for (int64_t e = 0; e < 16; e++) {
        ((float *)(kept + 64))[e] = 0.0f;
    }
    {
        ((float *)(kept + 128))[0] = 0.0f;
    }
}
static void linear_step_0_join(char *kept, const char *a, const char *b) {
    {
        const float a_e = ((const float *)(a + 0))[0];
        const float b_e = ((const float *)(b + 0))[0];
        ((float *)(kept + 0))[0] = a_e + b_e;
    }
    #pragma omp simd
    for (int64_t e = 0; e < 16; e++) {
        const float a_e = ((const float *)(a + 64))[e];
        const float b_e = ((const float *)(b + 64))[e];
        ((float *)(kept + 64))[e] = a_e + b_e;
    }
    {
        const float a_e = ((const float *)(a + 128))[0];
        const float b_e = ((const float *)(b + 128))[0];
        ((float *)(kept + 128))[0] = a_e + b_e;
    }
}
static void linear_step_0_pass(PARAMETERS) {
    const float *restrict const params_0_ptr = buffers[0];
    const float *restrict const params_1_ptr = buffers[1];
    const float *restrict const x_ptr = buffers[3];
    const float *restrict const y_ptr = buffers[4];
    const int64_t *restrict const order_ptr = buffers[6];
    const int64_t rows = sizes[0];
    const int64_t batch = sizes[1];
    const int64_t start = step * batch;
    const int64_t n = rows - start < batch ? rows - start : batch;
    float t10 = *(float *)(kept + 0);
    float *restrict const t20 = (float *)(kept + 64);
    float t19 = *(float *)(kept + 128);
    float t15;
    const float t12_2 = (float)((int64_t)n);
    t15 = 1.0f / t12_2;
    _Alignas(64) float t5[128];
    _Alignas(64) float t18[128];
    for (int64_t i0 = begin; i0 < end; i0 += 128) {
        const int64_t m_i = end - i0 < 128 ? end - i0 : 128;
        {
            {
                int64_t ib = 0;
                for (; ib + 8 <= m_i; ib += 8) {
                    {
                        f32x8 sums[8][1] = {0};
                        int64_t jb = 0;
                        {
                            const int64_t j = jb;
                            f32x8 right[1];
                            {
                                const int q = 0;
                                right[q] = f32x8_load(&params_0_ptr[j]);
                                KEEP(right[q]);
                            }
                            UNROLL for (int u = 0; u < 8; u++) {
                                const int64_t i_ = ib + u;
                                const int64_t i = i0 + i_;
                                const f32x8 left = f32x8_tail(&x_ptr[order_ptr[start + i] * 5 + j], 5);
                                UNROLL for (int q = 0; q < 1; q++) sums[u][q] += left * right[q];
                            }
                        }
                        {
                            const int q = 0;
                            const int64_t i_ = ib;
                            const int64_t i = i0 + i_;
                            f32x8_store(&t5[i_], f32x8_sum8(sums[0][q], sums[1][q], sums[2][q], sums[3][q], sums[4][q], sums[5][q], sums[6][q], sums[7][q]));
                        }
                    }
                }
                for (; ib < m_i; ib += 4) {
                    {
                        f32x8 sums[4][1] = {0};
                        int64_t jb = 0;
                        {
                            const int64_t j = jb;
                            f32x8 right[1];
                            {
                                const int q = 0;
                                right[q] = f32x8_load(&params_0_ptr[j]);
                                KEEP(right[q]);
                            }
                            UNROLL for (int u = 0; u < 4; u++) {
                                const int64_t i_ = ib + u < m_i - 1 ? ib + u : m_i - 1;
                                const int64_t i = i0 + i_;
                                const f32x8 left = f32x8_tail(&x_ptr[order_ptr[start + i] * 5 + j], 5);
                                UNROLL for (int q = 0; q < 1; q++) sums[u][q] += left * right[q];
                            }
                        }
                        {
                            const int q = 0;
                            const int64_t i_ = ib;
                            const int64_t i = i0 + i_;
                            f32x4_store(&t5[i_], f32x8_sum4(sums[0][q], sums[1][q], sums[2][q], sums[3][q]));
                        }
                    }
                }
            }
        }
        _Alignas(64) float terms_t10[128];
        #pragma omp simd
        for (int64_t i_ = 0; i_ < m_i; i_++) {
            const int64_t i = i0 + i_;
            const float t7 = t5[i_] + params_1_ptr[0];
            const float t8 = t7 - y_ptr[order_ptr[start + i]];
            const float t9 = t8 * t8;
            terms_t10[i_] = t9;
            const float t17 = t15 * t8;
            t18[i_] = t17 + t17;
        }
        t10 += f32x16_add_all(terms_t10, m_i);
        {
            const int64_t i_ = 0;
            t19 += f32x16_add_all(&t18[i_], m_i);
        }
        {
            {
                f32x8 sums[4][1][1] = {0};
                int64_t ib = 0;
                for (; ib + 4 <= m_i; ib += 4) {
                    UNROLL for (int c = 0; c < 4; c++) {
                        const int64_t i_ = ib + c;
                        const int64_t i = i0 + i_;
                        f32x8 right[1];
                        {
                            const int64_t j = 0 + 0;
                            right[0] = f32x8_tail(&x_ptr[order_ptr[start + i] * 5 + j], 5);
                        }
                        {
                            const int u = 0;
                            const float left = t18[i_];
                            UNROLL for (int q = 0; q < 1; q++) sums[c][u][q] += left * right[q];
                        }
                    }
                }
                for (; ib < m_i; ib++) {
                    const int64_t i_ = ib;
                    const int64_t i = i0 + i_;
                    f32x8 right[1];
                    {
                        const int64_t j = 0 + 0;
                        right[0] = f32x8_tail(&x_ptr[order_ptr[start + i] * 5 + j], 5);
                    }
                    {
                        const int u = 0;
                        const float left = t18[i_];
                        UNROLL for (int q = 0; q < 1; q++) sums[0][u][q] += left * right[q];
                    }
                }
                {
                    const int u = 0;
                    {
                        const int q = 0;
                        const int64_t j = 0 + 8 * q;
                        f32x8 sum = (sums[0][u][q] + sums[1][u][q]) + (sums[2][u][q] + sums[3][u][q]);
                        if (q == 0) sum = f32x8_keep(sum, 5);
                        sum += f32x8_load(&t20[j]);
                        f32x8_store(&t20[j], sum);
                    }
                }
            }
        }
    }
    *(float *)(kept + 0) = t10;
    *(float *)(kept + 128) = t19;
}
static void linear_step_0_finish(PARAMETERS) {
    float *restrict const params_0_ptr = buffers[0];
    float *restrict const params_1_ptr = buffers[1];
    const double *restrict const lr_ptr = buffers[2];
    float *restrict const out2_ptr = buffers[5];
    const int64_t rows = sizes[0];
    const int64_t batch = sizes[1];
    const int64_t start = step * batch;
    const int64_t n = rows - start < batch ? rows - start : batch;
    const float t10 = *(float *)(kept + 0);
    float *restrict const t20 = (float *)(kept + 64);
    const float t19 = *(float *)(kept + 128);
    float t21;
    const float t12 = (float)((int64_t)n);
    const float t13 = t10 / t12;
    t21 = (float)lr_ptr[step];
    const float t25 = t21 * t19;
    const float t26 = params_1_ptr[0] - t25;
    if (thread == 0) out2_ptr[step] = t13;
    params_1_ptr[0] = t26;
    #pragma omp simd
    for (int64_t j = 0; j < 8; j++) {
        const float t23 = t21 * t20[j];
        const float t24 = params_0_ptr[j] - t23;
        params_0_ptr[j] = j < 5 ? t24 : 0;
    }
}

/* A number from 0 to size - 1 for each number. */
static inline uint32_t moved(uint32_t x, uint32_t key, uint32_t size) {
    x ^= key;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) * 0x735a2d97u;
    x ^= x >> 15;
    return (uint32_t)(((uint64_t)(x >> 1) * size) >> 31);
}

/* The numbers 0 to rows - 1 in the order of the keys: a Feistel network over the cells of a table
   of lines and columns, without those beyond the rows. */
void graphir_order(int64_t *order, int64_t rows, uint32_t lines, uint32_t columns,
                   const uint32_t *keys) {
    for (uint32_t first = 0; first < lines; first++) {
        const uint32_t shift = moved(first, keys[0], columns);
        for (uint32_t from = 0; from < columns; from += 64) {
            const uint32_t count = columns - from < 64 ? columns - from : 64;
            int64_t cells[64];
            #pragma omp simd
            for (uint32_t k = 0; k < count; k++) {
                uint32_t line = first, column = from + k;
                column += shift;
                column -= column >= columns ? columns : 0;
                line += moved(column, keys[1], lines);
                line -= line >= lines ? lines : 0;
                column += moved(line, keys[2], columns);
                column -= column >= columns ? columns : 0;
                line += moved(column, keys[3], lines);
                line -= line >= lines ? lines : 0;
                cells[k] = (int64_t)((uint64_t)line * columns + column);
            }
            for (uint32_t k = 0; k < count; k++)
                if (cells[k] < rows) *order++ = cells[k];
        }
    }
}

typedef struct call call_t;
/* What the threads of a call share. */
struct call {
    void *const *buffers;
    const int64_t *sizes;
    int64_t first, last;
    int32_t threads;
    char *memory;
    void *team;
    void (*meet)(call_t *call); /* returns when all threads have called it */
};

typedef void work_t(call_t *call, int32_t thread);

typedef int in_threads_t(call_t *call, work_t *work, size_t of_a_thread, size_t of_all);

/* Where the share of a thread begins and ends; all of it, without arithmetic, of one thread. */
static inline int64_t share_begin(int64_t size, int32_t thread, int32_t threads) {
    return threads == 1 ? 0 : size * thread / threads;
}
static inline int64_t share_end(int64_t size, int32_t thread, int32_t threads) {
    return threads == 1 ? size : size * (thread + 1) / threads;
}

static inline void barrier(call_t *call) {
    if (call->threads > 1) call->meet(call);
}

static void work(call_t *call, int32_t thread) {
    const int64_t *sizes = call->sizes;
    const int32_t threads = call->threads;
    char *memory = call->memory + (size_t)thread * OF_A_THREAD;
    char *of_span = memory + 3 * KEPT;
    char *scratch = memory + 4 * KEPT;
    void *places[7];
    __builtin_memcpy(places, call->buffers, sizeof places);
    places[0] = memory + 768 + 0;
    places[1] = memory + 768 + 64;
    __builtin_memset(places[0], 0, 64);
    __builtin_memcpy(places[0], call->buffers[0], 20);
    __builtin_memcpy(places[1], call->buffers[1], 4);
    for (int64_t step = call->first; step < call->last; step++) {
        const int64_t rows = sizes[0];
        const int64_t batch = sizes[1];
        const int64_t start = step * batch;
        const int64_t n = rows - start < batch ? rows - start : batch;
        {
            const int64_t begin = share_begin(n, thread, threads);
            const int64_t end = share_end(n, thread, threads);
            const size_t turn = (size_t)(step & 1) * KEPT;
            char *kept = memory + turn;
            int64_t from = begin, to;
            char *into = kept;
            for (;; into = of_span, from = to) {
                to = end - from > 8192 ? from + 8192 : end;
                linear_step_0_clear(into);
                linear_step_0_pass(places, sizes, step, thread, 0, from, to, into, scratch);
                if (into != kept) linear_step_0_join(kept, kept, into);
                if (to == end) break;
            }
            if (threads > 1) {
                barrier(call);
                const char *before = call->memory + turn;
                kept = memory + 2 * KEPT;
                for (int32_t other = 1; other < threads; other++) {
                    linear_step_0_join(kept, before, call->memory + (size_t)other * OF_A_THREAD + turn);
                    before = kept;
                }
            }
            linear_step_0_finish(places, sizes, step, thread, 0, 0, 0, kept, scratch);
        }
    }
    if (thread == 0 && call->first < call->last) {
        __builtin_memcpy(call->buffers[0], places[0], 20);
        __builtin_memcpy(call->buffers[1], places[1], 4);
    }
}

int graphir_run(in_threads_t *in_threads, void **buffers, const int64_t *sizes, int64_t first,
            int64_t last, int32_t threads) {
    call_t call = {buffers, sizes, first, last, threads, 0, 0, 0};
    return in_threads(&call, work, OF_A_THREAD, OF_ALL);
}
