// A GPU played by the processor, so that the CUDA sources of tensorgrad/backend run where there is none.
//
// Blocks run one after the other. The threads of a block run one after the other too, each until it meets a barrier
// (__syncthreads), where the next one takes over; so shared memory behaves as on a GPU, and a barrier that is missing is
// found out: threads run in order in even blocks and in reverse in odd ones. A kernel without a barrier is called directly.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>  // exp, log and sqrt of float, as CUDA has them, under their bare names
#include <functional>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline

struct dim3 { int x, y, z; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;

#ifdef __SANITIZE_ADDRESS__
enum { STACK_BYTES = 1 << 17 };  // the sanitizer keeps memory around every variable
#else
enum { STACK_BYTES = 1 << 15 };
#endif

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static int running = -1;
static std::function<void()> body;

static void start_fiber() {
    body();
    fibers[running].done = true;
    swapcontext(&fibers[running].context, &scheduler);
}

static void __syncthreads() {
    if (running < 0) {
        fprintf(stderr, "a kernel with a barrier was started as one without\n");
        abort();
    }
    swapcontext(&fibers[running].context, &scheduler);
}

static void run_block_with_barriers() {
    int count = blockDim.x;
    if ((int)fibers.size() < count) fibers.resize(count);
    for (int t = 0; t < count; t++) {
        Fiber &fiber = fibers[t];
        fiber.stack.resize(STACK_BYTES);
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, start_fiber, 0);
    }
    for (int left = count; left > 0;) {
        int waiting = 0;
        for (int turn = 0; turn < count; turn++) {
            int t = blockIdx.x % 2 ? count - 1 - turn : turn;
            if (fibers[t].done) continue;
            running = t;
            threadIdx.x = t;
            swapcontext(&scheduler, &fibers[t].context);
            if (fibers[t].done) left--; else waiting++;
        }
        if (waiting && left != waiting) abort();
        if (waiting && waiting != count) {
            fprintf(stderr, "some threads of a block wait at a barrier that others never reach\n");
            abort();
        }
    }
    running = -1;
}

static void run_on_host(int blocks, int threads, bool barriers, const std::function<void()> &kernel) {
    body = kernel;
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    threadIdx = blockIdx = {0, 0, 0};
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        if (barriers) {
            run_block_with_barriers();
        } else {
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) kernel();
        }
    }
}

// what CUDA offers without a header

template <class Number>
static Number atomicAdd(Number *place, Number value) {
    Number before = *place;
    *place += value;
    return before;
}

static uint64_t __umul64hi(uint64_t x, uint64_t y) { return (uint64_t)((unsigned __int128)x * y >> 64); }

// float16, in plain C++; takes the place of cuda_half.cuh

struct half { unsigned short bits; };

static float half_to_float(half x) {
    int exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
    float value;
    if (exponent == 31) value = fraction ? NAN : INFINITY;
    else if (exponent) value = ldexpf(1024 + fraction, exponent - 25);
    else value = ldexpf(fraction, -24);
    return x.bits >> 15 ? -value : value;
}

static half float_to_half(float value) {
    unsigned short sign = std::signbit(value) ? 0x8000 : 0;
    value = fabsf(value);
    if (value != value) return {(unsigned short)(sign | 0x7e00)};
    if (value >= 65520.0f) return {(unsigned short)(sign | 0x7c00)};
    if (value < ldexpf(1, -14)) return {(unsigned short)(sign | (int)nearbyintf(ldexpf(value, 24)))};
    int exponent;
    float fraction = frexpf(value, &exponent);  // 0.5 <= fraction < 1
    int steps = (int)nearbyintf(ldexpf(fraction, 11));  // 1024 .. 2048
    return {(unsigned short)(sign | (((exponent + 13) << 10) + steps))};
}
