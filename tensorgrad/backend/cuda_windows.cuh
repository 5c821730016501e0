// The geometry of sliding windows (windows.py), for pooling and convolution.

struct Windows {
    int height, width, rows, columns;  // of the input, of the output
    int kernel_rows, kernel_columns, row_stride, column_stride, top, left, row_dilation, column_dilation;
    int bottom, right, counts_padding, divisor;  // of average pooling; divisor 0 for none
};

// The output whose window has its element k at a place of the input, or -1: place = output * stride - before + k * dilation.
__device__ inline int output_at(int place, int k, int before, int stride, int dilation, int outputs) {
    int distance = place + before - k * dilation;
    if (distance < 0 || distance % stride) return -1;
    int output = distance / stride;
    return output < outputs ? output : -1;
}
