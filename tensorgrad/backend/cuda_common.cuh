// What every kernel file begins with. Before it stand three names, for the dtype that the file is compiled for:
//   T  a number as it lies in memory (float, double, or `half` for float16)
//   A  a number as it is computed with (float for float16, else T)
//   IN_HALF  1 where T is half
//
// A kernel's whole numbers are `int`, its settings `double`; what does not change between calls comes as one struct by value.

#define KERNEL extern "C" __global__ void

// every i of 0 .. count-1, shared among all threads of the launch
#define FOR_EACH(i, count) for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

__device__ inline float get(const float *x, int i) { return x[i]; }
__device__ inline double get(const double *x, int i) { return x[i]; }
__device__ inline void set(float *x, int i, float value) { x[i] = value; }
__device__ inline void set(double *x, int i, double value) { x[i] = value; }

#if IN_HALF
__device__ inline A get(const half *x, int i) { return half_to_float(x[i]); }
__device__ inline void set(half *x, int i, A value) { x[i] = float_to_half(value); }
#endif

#define NOT_A_NUMBER ((A)(0.0 / 0.0))
#define MINUS_INFINITY ((A)(-1.0 / 0.0))

// The threads of a block that work together; a power of two.
#define TEAM 256

// The sum of every thread's value, in every thread. `room` is TEAM numbers of shared memory.
template <class Number>
__device__ inline Number sum_of_team(Number value, Number *room) {
    room[threadIdx.x] = value;
    __syncthreads();
    for (int half_of = blockDim.x / 2; half_of > 0; half_of /= 2) {
        if (threadIdx.x < half_of) room[threadIdx.x] += room[threadIdx.x + half_of];
        __syncthreads();
    }
    Number total = room[0];
    __syncthreads();  // before anybody writes there again
    return total;
}

// The greater of two; nan if one of them is.
template <class Number>
__device__ inline Number greater_of(Number x, Number y) {
    return (y > x || y != y) ? y : x;
}

// The greatest of every thread's values, in every thread; nan if one of them is.
template <class Number>
__device__ inline Number greatest_of_team(Number value, Number *room) {
    room[threadIdx.x] = value;
    __syncthreads();
    for (int half_of = blockDim.x / 2; half_of > 0; half_of /= 2) {
        if (threadIdx.x < half_of) room[threadIdx.x] = greater_of(room[threadIdx.x], room[threadIdx.x + half_of]);
        __syncthreads();
    }
    Number best = room[0];
    __syncthreads();
    return best;
}
