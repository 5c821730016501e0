// Random numbers drawn on the GPU, the very ones that NumPy's PCG64 draws on the host: one seed gives the same numbers on both.
//
// The generator (M. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
// Generation", 2014) has a state of 128 bits, state = state * FACTOR + increment, and gives 64 bits of each. A thread jumps to the
// state of its first number in as many steps as that number's index has bits (F. B. Brown, "Random Number Generation with
// Arbitrary Strides", 1994).

typedef unsigned long long Word;
struct Wide { Word high, low; };

#define FACTOR_HIGH 0x2360ED051FC65DA4ull
#define FACTOR_LOW 0x4385DF649FCCF645ull
// Numbers of one stream, and how many streams a launch knows.
#define PIECE (1 << 20)
#define MOST_STREAMS 64
// Consecutive numbers of a thread.
#define RUN 16

struct Streams {
    Word state_high[MOST_STREAMS], state_low[MOST_STREAMS], increment_high[MOST_STREAMS], increment_low[MOST_STREAMS];
    int has_rest;  // whether the first stream has 32 bits left over from before, and which
    unsigned int rest;
};

__device__ inline Wide times(Wide x, Wide y) {
    Wide z;
    z.low = x.low * y.low;
    z.high = __umul64hi(x.low, y.low) + x.high * y.low + x.low * y.high;
    return z;
}

__device__ inline Wide plus(Wide x, Wide y) {
    Wide z;
    z.low = x.low + y.low;
    z.high = x.high + y.high + (z.low < x.low ? 1 : 0);
    return z;
}

__device__ inline Wide factor_of_pcg() {
    Wide z;
    z.high = FACTOR_HIGH;
    z.low = FACTOR_LOW;
    return z;
}

// The state after `steps` more steps.
__device__ inline Wide jumped(Wide state, Wide increment, int steps) {
    Wide factor = factor_of_pcg(), one;
    one.high = 0;
    one.low = 1;
    for (; steps > 0; steps >>= 1) {
        if (steps & 1) state = plus(times(state, factor), increment);
        increment = times(plus(factor, one), increment);
        factor = times(factor, factor);
    }
    return state;
}

// The 64 bits of a state.
__device__ inline Word bits_of(Wide state) {
    Word mixed = state.high ^ state.low;
    int turn = (int)(state.high >> 58);
    return (mixed >> turn) | (mixed << ((64 - turn) & 63));
}

// The numbers of one thread in order, evenly from [0, 1): of 24 random bits, or for double of 53.
struct Uniform {
    Wide state, increment;
    Word word;
    bool half_is_left;

    __device__ void start(const Streams &streams, int stream, int index) {
        state.high = streams.state_high[stream];
        state.low = streams.state_low[stream];
        increment.high = streams.increment_high[stream];
        increment.low = streams.increment_low[stream];
        word = 0;
        half_is_left = false;
        if (sizeof(T) == 8) {
            state = jumped(state, increment, index);
            return;
        }
        if (streams.has_rest) {
            if (index == 0) {
                word = (Word)streams.rest << 32;
                half_is_left = true;
                return;
            }
            index--;
        }
        state = jumped(state, increment, index / 2);
        if (index % 2) {
            step();
            half_is_left = true;
        }
    }

    __device__ void step() {
        state = plus(times(state, factor_of_pcg()), increment);
        word = bits_of(state);
    }

    __device__ A next() {
        if (sizeof(T) == 8) {
            step();
            return (A)((word >> 11) * (1.0 / 9007199254740992.0));
        }
        unsigned int bits;
        if (half_is_left) {
            bits = (unsigned int)(word >> 32);
        } else {
            step();
            bits = (unsigned int)word;
        }
        half_is_left = !half_is_left;
        return (A)((bits >> 8) * (1.0f / 16777216.0f));
    }
};

// every first number of this thread's runs
#define FOR_EACH_RUN(first) \
    for (int first = (blockIdx.x * blockDim.x + threadIdx.x) * RUN; first < count; first += gridDim.x * blockDim.x * RUN)

KERNEL uniform(T *z, int count, Streams streams) {
    FOR_EACH_RUN(first) {
        Uniform numbers;
        numbers.start(streams, first / PIECE, first % PIECE);
        for (int i = first; i < count && i < first + RUN; i++) set(z, i, numbers.next());
    }
}

// `factor` where the number is at least `chance`, else 0: the mask of dropout.
KERNEL kept(T *z, int count, Streams streams, double chance, double factor) {
    FOR_EACH_RUN(first) {
        Uniform numbers;
        numbers.start(streams, first / PIECE, first % PIECE);
        for (int i = first; i < count && i < first + RUN; i++) {
            set(z, i, numbers.next() >= (float)chance ? (A)factor : (A)0);
        }
    }
}
