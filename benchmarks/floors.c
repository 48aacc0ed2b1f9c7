/* What this machine can do at most: bytes read a second, multiply-adds a second. */
#include <stdint.h>
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
#define LANES (WIDTH / 4)
#define CHAINS 12 /* independent sums: more than latency times ports, fewer than registers */
#if defined(__aarch64__)
#define IN_REGISTER "+w"
#else
#define IN_REGISTER "+x"
#endif
typedef float vector __attribute__((vector_size(WIDTH)));
typedef float unaligned __attribute__((vector_size(WIDTH), aligned(4), may_alias));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* The seconds in which `floats` (a multiple of CHAINS * LANES) are read `times` over. */
double read_seconds(const float *data, int64_t floats, int64_t times, float *out) {
    vector sum[CHAINS] = {};
    double start = now();
    for (int64_t t = 0; t < times; t++) {
        for (int64_t i = 0; i < floats; i += CHAINS * LANES)
#pragma GCC unroll 12
            for (int c = 0; c < CHAINS; c++) sum[c] += *(const unaligned *)(data + i + c * LANES);
        __asm__ volatile("" ::: "memory");
    }
    double seconds = now() - start;
    for (int c = 1; c < CHAINS; c++) sum[0] += sum[c];
    *out = sum[0][0];
    return seconds;
}

/* The seconds of `times` rounds of CHAINS multiply-adds on vectors; LANES floats each. */
double multiply_seconds(int64_t times, float *out) {
    vector x[CHAINS], factor, term;
    for (int c = 0; c < CHAINS; c++) x[c] = (vector){} + (float)c;
    factor = (vector){} + 0.999f;
    term = (vector){} + 0.001f;
    double start = now();
    for (int64_t t = 0; t < times; t++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            vector next = x[c] * factor + term;
            __asm__("" : IN_REGISTER(next)); /* the rounds stay apart */
            x[c] = next;
        }
    }
    double seconds = now() - start;
    for (int c = 1; c < CHAINS; c++) x[0] += x[c];
    *out = x[0][0];
    return seconds;
}

int multiply_flops(void) { return 2 * CHAINS * LANES; }
int read_multiple(void) { return CHAINS * LANES; }
