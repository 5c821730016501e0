// Convolution without cuDNN: what the windows see as columns of a matrix, and back; see convolution.py. And, for few channels a group
// (a filter a channel), where the matrices would be rows of a handful of numbers, the sums themselves.
//
// x, dx (planes, H, W), planes = images * channels; columns (planes, KH, KW, OH, OW); all contiguous.
#include "cuda_windows.cuh"

// columns[plane, k, l, i, j] = the number that window (i, j) has at (k, l), 0 in the padding.
KERNEL to_columns(const T *x, T *columns, int count, Windows w) {
    FOR_EACH(i, count) {
        int column = i % w.columns, row = i / w.columns % w.rows, tap = i / (w.columns * w.rows);
        int l = tap % w.kernel_columns, k = tap / w.kernel_columns % w.kernel_rows;
        int plane = tap / (w.kernel_columns * w.kernel_rows);
        int h = row * w.row_stride - w.top + k * w.row_dilation;
        int v = column * w.column_stride - w.left + l * w.column_dilation;
        bool inside = h >= 0 && h < w.height && v >= 0 && v < w.width;
        set(columns, i, inside ? get(x, (plane * w.height + h) * w.width + v) : (A)0);
    }
}

// The adjoint: every number of dx is the sum of its places in the columns.
KERNEL from_columns(const T *columns, T *dx, int count, Windows w) {
    FOR_EACH(i, count) {
        int v = i % w.width, h = i / w.width % w.height, plane = i / (w.width * w.height);
        A total = 0;
        for (int k = 0; k < w.kernel_rows; k++) {
            int row = output_at(h, k, w.top, w.row_stride, w.row_dilation, w.rows);
            if (row < 0) continue;
            for (int l = 0; l < w.kernel_columns; l++) {
                int column = output_at(v, l, w.left, w.column_stride, w.column_dilation, w.columns);
                if (column < 0) continue;
                int tap = (plane * w.kernel_rows + k) * w.kernel_columns + l;
                total += get(columns, (tap * w.rows + row) * w.columns + column);
            }
        }
        set(dx, i, total);
    }
}

// z = x * w directly: a thread a number of z. depth = channels / groups, features_of = features / groups.
KERNEL convolve(const T *x, const T *weight, T *z, int count, int channels, int features, int depth, int features_of, Windows w) {
    FOR_EACH(i, count) {
        int column = i % w.columns, row = i / w.columns % w.rows, feature = i / (w.columns * w.rows) % features;
        int image = i / (w.columns * w.rows * features), first_channel = feature / features_of * depth;
        int first_row = row * w.row_stride - w.top, first_column = column * w.column_stride - w.left;
        A total = 0;
        for (int c = 0; c < depth; c++) {
            const T *plane = x + (image * channels + first_channel + c) * w.height * w.width;
            const T *filter = weight + (feature * depth + c) * w.kernel_rows * w.kernel_columns;
            for (int k = 0; k < w.kernel_rows; k++) {
                int h = first_row + k * w.row_dilation;
                if (h < 0 || h >= w.height) continue;
                for (int l = 0; l < w.kernel_columns; l++) {
                    int v = first_column + l * w.column_dilation;
                    if (v < 0 || v >= w.width) continue;
                    total += get(filter, k * w.kernel_columns + l) * get(plane, h * w.width + v);
                }
            }
        }
        set(z, i, total);
    }
}

// dx for dz, directly: a thread a number of dx.
KERNEL convolve_back(
    const T *dz, const T *weight, T *dx, int count, int channels, int features, int depth, int features_of, Windows w
) {
    FOR_EACH(i, count) {
        int v = i % w.width, h = i / w.width % w.height, channel = i / (w.width * w.height) % channels;
        int image = i / (w.width * w.height * channels), group = channel / depth, c = channel % depth;
        A total = 0;
        for (int k = 0; k < w.kernel_rows; k++) {
            int row = output_at(h, k, w.top, w.row_stride, w.row_dilation, w.rows);
            if (row < 0) continue;
            for (int l = 0; l < w.kernel_columns; l++) {
                int column = output_at(v, l, w.left, w.column_stride, w.column_dilation, w.columns);
                if (column < 0) continue;
                for (int o = group * features_of; o < (group + 1) * features_of; o++) {
                    A factor = get(weight, ((o * depth + c) * w.kernel_rows + k) * w.kernel_columns + l);
                    total += factor * get(dz, ((image * features + o) * w.rows + row) * w.columns + column);
                }
            }
        }
        set(dx, i, total);
    }
}

// dw for dz and x, directly: a block a number of dw, its threads share the images' outputs.
KERNEL convolve_weight(
    const T *dz, const T *x, T *dw, int images, int channels, int features, int depth, int features_of, Windows w
) {
    __shared__ A room[TEAM];
    int l = blockIdx.x % w.kernel_columns, k = blockIdx.x / w.kernel_columns % w.kernel_rows;
    int filter = blockIdx.x / (w.kernel_columns * w.kernel_rows), c = filter % depth, feature = filter / depth;
    int channel = feature / features_of * depth + c, points = w.rows * w.columns;
    A part = 0;
    for (int e = threadIdx.x; e < images * points; e += blockDim.x) {
        int column = e % w.columns, row = e / w.columns % w.rows, image = e / points;
        int h = row * w.row_stride - w.top + k * w.row_dilation;
        int v = column * w.column_stride - w.left + l * w.column_dilation;
        if (h < 0 || h >= w.height || v < 0 || v >= w.width) continue;
        A value = get(x, ((image * channels + channel) * w.height + h) * w.width + v);
        part += value * get(dz, ((image * features + feature) * w.rows + row) * w.columns + column);
    }
    A total = sum_of_team(part, room);
    if (threadIdx.x == 0) set(dw, blockIdx.x, total);
}
