// Max and average pooling with their adjoints; see pooling.py for what they compute. One thread makes one number of the result,
// gathering what it needs: nothing is added up by several threads, so every run gives the same sums.
//
// Arrays are contiguous: x, dx (planes, H, W); z, dz, winners (planes, OH, OW), planes = N * C.

#include "cuda_windows.cuh"

// The element of the window that comes first behind the padding: the winner where all are -inf.
__device__ inline int first_tap(int start, int kernel, int dilation) {
    int inside = start < 0 ? (-start + dilation - 1) / dilation : 0;
    return inside < kernel - 1 ? inside : kernel - 1;
}

template <class Winner>
__device__ inline void max_pool(const T *x, T *z, Winner *winners, int count, const Windows &w) {
    FOR_EACH(i, count) {
        int column = i % w.columns, row = i / w.columns % w.rows, plane = i / (w.columns * w.rows);
        int first_row = row * w.row_stride - w.top, first_column = column * w.column_stride - w.left;
        const T *values = x + plane * w.height * w.width;
        A best = MINUS_INFINITY;
        int winner = first_tap(first_row, w.kernel_rows, w.row_dilation) * w.kernel_columns +
                     first_tap(first_column, w.kernel_columns, w.column_dilation);
        for (int k = 0; k < w.kernel_rows; k++) {
            int h = first_row + k * w.row_dilation;
            if (h < 0 || h >= w.height) continue;
            for (int l = 0; l < w.kernel_columns; l++) {
                int v = first_column + l * w.column_dilation;
                if (v < 0 || v >= w.width) continue;
                A value = get(values, h * w.width + v);
                if (value > best || value != value) {
                    best = value;
                    winner = k * w.kernel_columns + l;
                }
            }
        }
        set(z, i, best);
        winners[i] = (Winner)winner;
    }
}

KERNEL max_pool_bytes(const T *x, T *z, unsigned char *winners, int count, Windows w) {
    max_pool(x, z, winners, count, w);
}

KERNEL max_pool_ints(const T *x, T *z, int *winners, int count, Windows w) {
    max_pool(x, z, winners, count, w);
}

template <class Winner>
__device__ inline void max_scatter(const T *dz, const Winner *winners, T *dx, int count, const Windows &w) {
    FOR_EACH(i, count) {
        int v = i % w.width, h = i / w.width % w.height, plane = i / (w.width * w.height);
        A total = 0;
        for (int k = 0; k < w.kernel_rows; k++) {
            int row = output_at(h, k, w.top, w.row_stride, w.row_dilation, w.rows);
            if (row < 0) continue;
            for (int l = 0; l < w.kernel_columns; l++) {
                int column = output_at(v, l, w.left, w.column_stride, w.column_dilation, w.columns);
                if (column < 0) continue;
                int output = (plane * w.rows + row) * w.columns + column;
                if (winners[output] == k * w.kernel_columns + l) total += get(dz, output);
            }
        }
        set(dx, i, total);
    }
}

KERNEL max_scatter_bytes(const T *dz, const unsigned char *winners, T *dx, int count, Windows w) {
    max_scatter(dz, winners, dx, count, w);
}

KERNEL max_scatter_ints(const T *dz, const int *winners, T *dx, int count, Windows w) {
    max_scatter(dz, winners, dx, count, w);
}

template <class Winner>
__device__ inline void max_gather(const T *dx, const Winner *winners, T *dz, int count, const Windows &w) {
    FOR_EACH(i, count) {
        int column = i % w.columns, row = i / w.columns % w.rows, plane = i / (w.columns * w.rows);
        int winner = winners[i];
        int h = row * w.row_stride - w.top + winner / w.kernel_columns * w.row_dilation;
        int v = column * w.column_stride - w.left + winner % w.kernel_columns * w.column_dilation;
        bool inside = h >= 0 && h < w.height && v >= 0 && v < w.width;
        set(dz, i, inside ? get(dx, (plane * w.height + h) * w.width + v) : (A)0);
    }
}

KERNEL max_gather_bytes(const T *dx, const unsigned char *winners, T *dz, int count, Windows w) {
    max_gather(dx, winners, dz, count, w);
}

KERNEL max_gather_ints(const T *dx, const int *winners, T *dz, int count, Windows w) {
    max_gather(dx, winners, dz, count, w);
}

__device__ inline int at_most(int x, int limit) { return x < limit ? x : limit; }
__device__ inline int at_least(int x, int limit) { return x > limit ? x : limit; }

// What the sum of one window is divided by.
__device__ inline A divisor_of(int row, int column, const Windows &w) {
    if (w.divisor) return (A)w.divisor;
    int first_row = row * w.row_stride - w.top, first_column = column * w.column_stride - w.left;
    int above = w.counts_padding ? w.top : 0, below = w.counts_padding ? w.bottom : 0;
    int before = w.counts_padding ? w.left : 0, behind = w.counts_padding ? w.right : 0;
    int rows = at_most(first_row + w.kernel_rows, w.height + below) - at_least(first_row, -above);
    int columns = at_most(first_column + w.kernel_columns, w.width + behind) - at_least(first_column, -before);
    return (A)(rows * columns);
}

KERNEL avg_pool(const T *x, T *z, int count, Windows w) {
    FOR_EACH(i, count) {
        int column = i % w.columns, row = i / w.columns % w.rows, plane = i / (w.columns * w.rows);
        int first_row = row * w.row_stride - w.top, first_column = column * w.column_stride - w.left;
        const T *values = x + plane * w.height * w.width;
        A total = 0;
        for (int h = at_least(first_row, 0); h < at_most(first_row + w.kernel_rows, w.height); h++) {
            for (int v = at_least(first_column, 0); v < at_most(first_column + w.kernel_columns, w.width); v++) {
                total += get(values, h * w.width + v);
            }
        }
        set(z, i, total / divisor_of(row, column, w));
    }
}

KERNEL avg_spread(const T *dz, T *dx, int count, Windows w) {
    FOR_EACH(i, count) {
        int v = i % w.width, h = i / w.width % w.height, plane = i / (w.width * w.height);
        A total = 0;
        for (int k = 0; k < w.kernel_rows; k++) {
            int row = output_at(h, k, w.top, w.row_stride, 1, w.rows);
            if (row < 0) continue;
            for (int l = 0; l < w.kernel_columns; l++) {
                int column = output_at(v, l, w.left, w.column_stride, 1, w.columns);
                if (column < 0) continue;
                total += get(dz, (plane * w.rows + row) * w.columns + column) / divisor_of(row, column, w);
            }
        }
        set(dx, i, total);
    }
}
