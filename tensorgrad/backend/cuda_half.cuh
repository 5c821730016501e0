// float16 in memory: read into a float, written back rounded to the nearest. By instructions of the GPU, not by a header of the
// CUDA toolkit, so that nothing but the compiler is needed.

struct half { unsigned short bits; };

__device__ inline float half_to_float(half x) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
    return value;
}

__device__ inline half float_to_half(float value) {
    half x;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(x.bits) : "f"(value));
    return x;
}
