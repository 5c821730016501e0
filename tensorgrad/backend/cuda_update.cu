// One step of an optimiser for many parameters in one launch; see update.py and optim for the formulas.
//
// A block takes the `CHUNK` numbers of one parameter that its number says. Where each parameter lies comes as a struct by value:
// nothing has to be copied to the GPU first, and a launch can be captured.

#define MOST_PARAMETERS 80
#define CHUNK 2048

struct Parameters {
    T *arrays[5][MOST_PARAMETERS];  // w, dw, then what the optimiser keeps for each; 0 where there is none, or a gradient alone
    int sizes[MOST_PARAMETERS];
    int first_blocks[MOST_PARAMETERS];  // the number of the block that begins with each
};

// Which parameter this block works on: the last one that begins at or before it.
__device__ inline int parameter_of_block(const Parameters &p, int count) {
    int low = 0, high = count - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (p.first_blocks[middle] <= (int)blockIdx.x) low = middle; else high = middle - 1;
    }
    return low;
}

// every i of this block's chunk that is this thread's
#define FOR_EACH_OF_CHUNK(i, number)                                                                      \
    int chunk_start = (blockIdx.x - p.first_blocks[number]) * CHUNK;                                      \
    int chunk_end = chunk_start + CHUNK < p.sizes[number] ? chunk_start + CHUNK : p.sizes[number];        \
    for (int i = chunk_start + threadIdx.x; i < chunk_end; i += blockDim.x)

// w -= lr v, v = momentum v + factor g, g = dw + decay w; without a velocity v = g.
KERNEL sgd(
    Parameters p, int count, double lr, double momentum, double factor, double decay, int nesterov, int maximize
) {
    int number = parameter_of_block(p, count);
    T *w = p.arrays[0][number], *dw = p.arrays[1][number], *velocity = p.arrays[2][number];
    FOR_EACH_OF_CHUNK(i, number) {
        A g = get(dw, i), value = get(w, i);
        if (maximize) g = -g;
        if (decay) g = g + (A)decay * value;
        if (velocity) {
            A v = get(velocity, i) * (A)momentum;
            v += factor == 1.0 ? g : (A)factor * g;
            set(velocity, i, v);
            g = nesterov ? g + (A)momentum * v : v;
        }
        set(w, i, value - (A)lr * g);
    }
}

// w -= lr m / (root sqrt(v) + eps); decay multiplies w if decoupled, else it is the share of w in the gradient.
KERNEL adam(
    Parameters p, int count, double lr, double beta1, double beta2, double root, double eps, double decay, int decoupled,
    int maximize
) {
    int number = parameter_of_block(p, count);
    T *w = p.arrays[0][number], *dw = p.arrays[1][number], *first = p.arrays[2][number], *second = p.arrays[3][number];
    T *largest = p.arrays[4][number];
    FOR_EACH_OF_CHUNK(i, number) {
        A g = get(dw, i), value = get(w, i);
        if (maximize) g = -g;
        if (decoupled) {
            if (decay != 1.0) value *= (A)decay;
        } else if (decay) {
            g = g + (A)decay * value;
        }
        A m = get(first, i) * (A)beta1;
        m += (A)(1.0 - beta1) * g;
        set(first, i, m);
        A v = get(second, i) * (A)beta2;
        v += g * g * (A)(1.0 - beta2);
        set(second, i, v);
        if (largest) {
            v = greater_of(get(largest, i), v);
            set(largest, i, v);
        }
        A step = sqrt(v) * (A)root + (A)eps;
        set(w, i, value - m / step * (A)lr);
    }
}

// Every gradient times the inverse of a loss scale, in place; `wrong` becomes 1 where one is infinite or nan then. (All that write to it
// write the same.)
KERNEL unscale(Parameters p, int count, const float *inverse, int *wrong) {
    int number = parameter_of_block(p, count);
    T *gradient = p.arrays[0][number];
    A factor = (A)inverse[0];
    bool found = false;
    FOR_EACH_OF_CHUNK(i, number) {
        set(gradient, i, get(gradient, i) * factor);
        A value = get(gradient, i);  // as it is now in memory: float16 may have overflown
        if (value - value != 0) found = true;
    }
    if (found) wrong[0] = 1;
}
