// Softmax and its kin along one dimension, and the cross entropy: a block takes a row, and the next one when it is done.
//
// x is (outer, n, inner), contiguous; row r is its n numbers from r / inner * n * inner + r % inner on, `inner` apart.

#define FOR_EACH_ROW(row) for (int row = blockIdx.x; row < rows; row += gridDim.x)
#define FOR_EACH_IN_ROW(j) for (int j = threadIdx.x; j < n; j += blockDim.x)
#define START(row) ((row) / inner * n * inner + (row) % inner)

__device__ inline bool is_finite(A x) { return x - x == 0; }

// The row's greatest number, nan if one is nan.
__device__ inline A greatest_of_row(const T *x, int n, int inner, A *room) {
    A best = MINUS_INFINITY;
    FOR_EACH_IN_ROW(j) best = greater_of(best, get(x, j * inner));
    return greatest_of_team(best, room);
}

// e^x / sum e^x, or with `logarithm` x - log sum e^x; nan throughout where the greatest number is infinite.
__device__ inline void softmax_rows(const T *x, T *z, int rows, int n, int inner, bool logarithm) {
    __shared__ A room[TEAM];
    FOR_EACH_ROW(row) {
        const T *values = x + START(row);
        T *results = z + START(row);
        A top = greatest_of_row(values, n, inner, room);
        if (!is_finite(top)) top = NOT_A_NUMBER;
        A part = 0;
        FOR_EACH_IN_ROW(j) part += exp(get(values, j * inner) - top);
        A total = sum_of_team(part, room);
        A log_of_total = log(total);
        FOR_EACH_IN_ROW(j) {
            A below = get(values, j * inner) - top;
            set(results, j * inner, logarithm ? below - log_of_total : exp(below) / total);
        }
    }
}

KERNEL softmax(const T *x, T *z, int rows, int n, int inner) {
    softmax_rows(x, z, rows, n, inner, false);
}

KERNEL log_softmax(const T *x, T *z, int rows, int n, int inner) {
    softmax_rows(x, z, rows, n, inner, true);
}

// log sum e^x of every row.
KERNEL logsumexp(const T *x, T *z, int rows, int n, int inner) {
    __shared__ A room[TEAM];
    FOR_EACH_ROW(row) {
        const T *values = x + START(row);
        A top = greatest_of_row(values, n, inner, room);
        A shift = is_finite(top) ? top : (A)0;
        A part = 0;
        FOR_EACH_IN_ROW(j) {
            A below = get(values, j * inner) - shift;
            part += exp(below > 0 ? (A)0 : below);  // a nan stays one
        }
        A total = sum_of_team(part, room);
        if (threadIdx.x == 0) set(z, row, total == 0 ? top : top + log(total));
    }
}

// dx = z (dz - sum z dz), z = softmax(x).
KERNEL softmax_grad(const T *dz, const T *z, T *dx, int rows, int n, int inner) {
    __shared__ A room[TEAM];
    FOR_EACH_ROW(row) {
        int start = START(row);
        A part = 0;
        FOR_EACH_IN_ROW(j) part += get(z, start + j * inner) * get(dz, start + j * inner);
        A total = sum_of_team(part, room);
        FOR_EACH_IN_ROW(j) {
            int i = start + j * inner;
            set(dx, i, get(z, i) * (get(dz, i) - total));
        }
    }
}

// dx = dz - e^z sum dz, z = log_softmax(x).
KERNEL log_softmax_grad(const T *dz, const T *z, T *dx, int rows, int n, int inner) {
    __shared__ A room[TEAM];
    FOR_EACH_ROW(row) {
        int start = START(row);
        A part = 0;
        FOR_EACH_IN_ROW(j) part += get(dz, start + j * inner);
        A total = sum_of_team(part, room);
        FOR_EACH_IN_ROW(j) {
            int i = start + j * inner;
            set(dx, i, get(dz, i) - exp(get(z, i)) * total);
        }
    }
}

// The loss of every row, log sum e^x - x[target], into `losses`, and the probabilities p = softmax(x). What is `ignored` counts 0, a
// class that does not exist gives nan.
KERNEL cross_entropy_rows(const T *x, const long long *target, A *losses, T *p, int rows, int n, int ignored) {
    __shared__ A room[TEAM];
    FOR_EACH_ROW(row) {
        const T *values = x + row * n;
        A top = greatest_of_row(values, n, 1, room);
        A part = 0;
        FOR_EACH_IN_ROW(j) part += exp(get(values, j) - top);
        A total = sum_of_team(part, room);
        FOR_EACH_IN_ROW(j) set(p + row * n, j, exp(get(values, j) - top) / total);
        if (threadIdx.x == 0) {
            long long chosen = target[row];
            bool exists = chosen >= 0 && chosen < n;
            A loss = exists ? log(total) - (get(values, (int)chosen) - top) : NOT_A_NUMBER;
            losses[row] = chosen == ignored ? (A)0 : loss;
        }
    }
}

// The sum of the losses, or their mean over those that are not ignored. One block.
KERNEL cross_entropy_total(const A *losses, const long long *target, T *z, int rows, int ignored, int mean) {
    __shared__ double room[TEAM];
    double part = 0, counted = 0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        part += losses[row];
        counted += target[row] != ignored;
    }
    double total = sum_of_team(part, room);
    double count = sum_of_team(counted, room);
    if (threadIdx.x == 0) set(z, 0, (A)(mean ? total / count : total));
}

// How many targets are not ignored. One block.
KERNEL count_targets(const long long *target, double *count, int rows, int ignored) {
    __shared__ double room[TEAM];
    double counted = 0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) counted += target[row] != ignored;
    double total = sum_of_team(counted, room);
    if (threadIdx.x == 0) count[0] = total;
}

// dx = (p - [class = target]) dz, 0 for what is ignored or does not exist. dz has a number a row if `of_rows`, else one; with `count`
// it is divided by that.
KERNEL cross_entropy_grad(
    const T *dz, const T *p, const long long *target, const double *count, T *dx, int rows, int n, int ignored, int of_rows
) {
    FOR_EACH(i, rows * n) {
        int row = i / n;
        long long chosen = target[row];
        bool counts = chosen != ignored && chosen >= 0 && chosen < n;
        A cotangent = get(dz, of_rows ? row : 0);
        if (count) cotangent /= (A)count[0];
        A slope = get(p, i) - (i % n == chosen ? (A)1 : (A)0);
        set(dx, i, counts ? slope * cotangent : (A)0);
    }
}
