"""The fixed part of the C text: threads that live for one call, and the entry."""

# Threads live for one call and spin between steps: a sleeping thread takes microseconds to wake.
RUNTIME = """
typedef struct {
    void *const *buffers;
    const int64_t *sizes;
    int64_t first, last;
    int32_t threads;
    char *memory;
    _Atomic int32_t arrived, phase, go;
} call_t;

typedef struct {
    call_t *call;
    int32_t thread;
} worker_t;

static void barrier(call_t *call) {
    if (call->threads == 1) return;
    int32_t phase = atomic_load_explicit(&call->phase, memory_order_relaxed);
    if (atomic_fetch_add(&call->arrived, 1) == call->threads - 1) {
        atomic_store_explicit(&call->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&call->phase, phase + 1, memory_order_release);
        return;
    }
    for (int64_t spins = 0;
         atomic_load_explicit(&call->phase, memory_order_acquire) == phase; spins++)
        if (spins > 10000) sched_yield();
}
"""

ENTRY = """
static void *start(void *argument) {{
    worker_t *worker = argument;
    int32_t go;
    while (!(go = atomic_load_explicit(&worker->call->go, memory_order_acquire))) sched_yield();
    if (go > 0) work(worker->call, worker->thread);
    return 0;
}}

int {entry}(void **buffers, const int64_t *sizes, int64_t first, int64_t last,
            int32_t threads) {{
    call_t call = {{buffers, sizes, first, last, threads, 0, 0, 0, 0}};
    int failed = 0;
    pthread_t *handles = malloc(sizeof(pthread_t) * threads);
    worker_t *workers = malloc(sizeof(worker_t) * threads);
    call.memory = aligned_alloc(64, (size_t)threads * (KEPT + SCRATCH) + RESIDENT + 64);
    if (!handles || !workers || !call.memory) failed = 1;
    int32_t started = 1;
    for (int32_t t = 1; t < threads && !failed; t++) {{
        workers[t] = (worker_t){{&call, t}};
        if (pthread_create(&handles[t], 0, start, &workers[t])) failed = 2;
        else started++;
    }}
    /* Where one thread could not be started, none may begin. */
    atomic_store_explicit(&call.go, failed ? -1 : 1, memory_order_release);
    if (!failed) work(&call, 0);
    for (int32_t t = 1; t < started; t++) pthread_join(handles[t], 0);
    free(call.memory);
    free(workers);
    free(handles);
    return failed;
}}
"""
