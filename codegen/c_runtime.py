"""The fixed parts of C: what each text has around its kernels, and the library that starts threads.

That library is the same for all programs, so it is built once, beside the first of them.
"""

_CALL = """
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
"""

RUNTIME = (
    _CALL
    + """
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
"""
)

ENTRY = """
int {entry}(in_threads_t *in_threads, void **buffers, const int64_t *sizes, int64_t first,
            int64_t last, int32_t threads) {{
    call_t call = {{buffers, sizes, first, last, threads, 0, 0, 0}};
    return in_threads(&call, work, OF_A_THREAD, OF_ALL);
}}
"""

IN_THREADS = "graphir_in_threads"
"""The function of `THREADS` that the entry of every program is given: `call_t` has what the call's
threads share; `work` is run by each; the memory is bytes for each thread and for all."""

IN_EPOCHS = "graphir_in_epochs"
"""`int graphir_in_epochs(entry_t *entry, void **buffers, const int64_t *sizes, int64_t steps,
int32_t threads, const epochs_t *plan)`: epochs of a program; its threads live through them all."""

# Threads live for one call and spin between steps: a sleeping thread takes microseconds to wake.
THREADS = (
    """#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
"""
    + _CALL
    + """
typedef struct {
    _Alignas(64) _Atomic int32_t arrived;
    _Alignas(64) _Atomic int32_t phase; /* a line of its own: it is what the waiting read */
    _Atomic int32_t go;
} team_t;

static void meet(call_t *call) {
    team_t *team = call->team;
    int32_t phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add(&team->arrived, 1) == call->threads - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
        return;
    }
    for (int64_t spins = 0;
         atomic_load_explicit(&team->phase, memory_order_acquire) == phase; spins++)
        if (spins > 10000) sched_yield();
}

typedef void draw_t(int64_t *order, int64_t rows, uint32_t lines, uint32_t columns,
                    const uint32_t *keys);

typedef struct {
    int64_t epochs;
    /* The buffers that have a part for each epoch, and its bytes. */
    int64_t parted;
    const int64_t *which, *bytes;
    /* What draws the order of the rows before each epoch, if anything; four keys an epoch. */
    draw_t *draw;
    int64_t *order;
    int64_t rows;
    uint32_t lines, columns;
    const uint32_t *keys;
} epochs_t;

static void begin_epoch(call_t *call, const epochs_t *plan, int64_t e) {
    void **buffers = (void **)call->buffers;
    for (int64_t k = 0; k < plan->parted && e > 0; k++)
        buffers[plan->which[k]] = (char *)buffers[plan->which[k]] + plan->bytes[k];
    if (plan->draw)
        plan->draw(plan->order, plan->rows, plan->lines, plan->columns, plan->keys + 4 * e);
}

/* What one thread does: the steps of the call, of each epoch where there are several. */
static void work_through(call_t *call, work_t *work, int32_t thread, const epochs_t *plan) {
    if (!plan) work(call, thread);
    for (int64_t e = 0; plan && e < plan->epochs; e++) {
        if (thread == 0) begin_epoch(call, plan, e);
        if (call->threads > 1) meet(call);
        work(call, thread);
        if (call->threads > 1) meet(call);
    }
}

typedef struct {
    call_t *call;
    work_t *work;
    const epochs_t *plan;
    int32_t thread;
#ifdef __GLIBC__
    cpu_set_t allowed;
#endif
} worker_t;

static void *start(void *argument) {
    worker_t *worker = argument;
    team_t *team = worker->call->team;
    int32_t go;
#ifdef __GLIBC__
    if (CPU_COUNT(&worker->allowed)) sched_setaffinity(0, sizeof worker->allowed, &worker->allowed);
#endif
    while (!(go = atomic_load_explicit(&team->go, memory_order_acquire))) sched_yield();
    if (go > 0) work_through(worker->call, worker->work, worker->thread, worker->plan);
    return 0;
}

/* A new thread may be put on its parent's CPU, and both spin there for many milliseconds before
   one is moved: so it begins on another. */
static int start_thread(pthread_t *handle, worker_t *worker) {
#ifdef __GLIBC__
    cpu_set_t allowed, one;
    const int here = sched_getcpu();
    if (here >= 0 && !sched_getaffinity(0, sizeof allowed, &allowed) && CPU_COUNT(&allowed) > 1) {
        int cpu = here;
        for (int32_t k = 0; k < worker->thread; k++)
            do cpu = (cpu + 1) % CPU_SETSIZE; while (!CPU_ISSET(cpu, &allowed));
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setaffinity_np(&attributes, sizeof one, &one);
        worker->allowed = allowed;
        const int failed = pthread_create(handle, &attributes, start, worker);
        pthread_attr_destroy(&attributes);
        if (!failed) return 0;
    }
#endif
    return pthread_create(handle, 0, start, worker);
}

static int in_threads(call_t *call, work_t *work, size_t of_a_thread, size_t of_all,
                      const epochs_t *plan) {
    const int32_t threads = call->threads;
    team_t team = {0};
    int failed = 0;
    call->team = &team;
    call->meet = meet;
    pthread_t *handles = malloc(sizeof(pthread_t) * threads);
    worker_t *workers = malloc(sizeof(worker_t) * threads);
    call->memory = aligned_alloc(64, (size_t)threads * of_a_thread + of_all + 64);
    if (!handles || !workers || !call->memory) failed = 1;
    int32_t started = 1;
    for (int32_t t = 1; t < threads && !failed; t++) {
        workers[t] = (worker_t){.call = call, .work = work, .plan = plan, .thread = t};
        if (start_thread(&handles[t], &workers[t])) failed = 2;
        else started++;
    }
    /* Where one thread could not be started, none may begin. */
    atomic_store_explicit(&team.go, failed ? -1 : 1, memory_order_release);
    if (!failed) work_through(call, work, 0, plan);
    for (int32_t t = 1; t < started; t++) pthread_join(handles[t], 0);
    free(call->memory);
    free(workers);
    free(handles);
    return failed;
}

int graphir_in_threads(call_t *call, work_t *work, size_t of_a_thread, size_t of_all) {
    return in_threads(call, work, of_a_thread, of_all, 0);
}

/* Of this thread, while it is in `graphir_in_epochs`. */
static _Thread_local const epochs_t *planned;

static int in_planned(call_t *call, work_t *work, size_t of_a_thread, size_t of_all) {
    return in_threads(call, work, of_a_thread, of_all, planned);
}

typedef int entry_t(in_threads_t *in_threads, void **buffers, const int64_t *sizes, int64_t first,
                    int64_t last, int32_t threads);

int graphir_in_epochs(entry_t *entry, void **buffers, const int64_t *sizes, int64_t steps,
                      int32_t threads, const epochs_t *plan) {
    planned = plan;
    return entry(in_planned, buffers, sizes, 0, steps, threads);
}
"""
)
