// Batch normalisation; see normalization.py for the formulas.
//
// x is (outer, channels, inner), contiguous. A channel's m = outer * inner numbers are shared by `splits` blocks. What they find is
// merged by the next kernel, every block for its own channel, so no launch is spent on it. The merged numbers are doubles.

// number e of a channel
#define PLACE(e) (((e) / inner * channels + channel) * inner + (e) % inner)
// every e that is this thread's
#define FOR_EACH_OF_CHANNEL(e) for (int e = part * TEAM + threadIdx.x; e < count; e += splits * TEAM)

// For each part (how many numbers, their mean less the channel's first number, the sum of their squared distances from the mean).
// One pass: B. P. Welford, 1962; parts are merged as by T. F. Chan, G. H. Golub, R. J. LeVeque, 1979. The first number of the channel
// is taken off, so that a mean much larger than the spread costs no digits.
KERNEL channel_statistics(const T *x, double *parts, int outer, int channels, int inner, int splits) {
    __shared__ double room[TEAM];
    int channel = blockIdx.x / splits, part = blockIdx.x % splits, count = outer * inner;
    A first = get(x, PLACE(0)), mean = 0, squares = 0;
    int n = 0;
    FOR_EACH_OF_CHANNEL(e) {
        A value = get(x, PLACE(e)) - first;
        A distance = value - mean;
        mean += distance / (A)++n;
        squares += distance * (value - mean);
    }
    double total = sum_of_team((double)n, room);
    double mean_of_all = sum_of_team((double)n * mean, room) / (total > 0 ? total : 1);
    double apart = mean - mean_of_all;
    double squares_of_all = sum_of_team(squares + n * apart * apart, room);
    if (threadIdx.x == 0) {
        double *mine = parts + 3 * blockIdx.x;
        mine[0] = total;
        mine[1] = mean_of_all;
        mine[2] = squares_of_all;
    }
}

// y = weight (x - mean) inv_std + bias with the statistics of the parts, which are written out too.
KERNEL normalize_by_parts(
    const T *x, const A *weight, const A *bias, const double *parts, T *y, A *means, A *variances, A *inv_stds,
    int outer, int channels, int inner, int splits, double eps
) {
    __shared__ double room[TEAM];
    int channel = blockIdx.x / splits, part = blockIdx.x % splits, count = outer * inner;
    const double *mine = parts + 3 * (channel * splits + threadIdx.x);
    bool one_of_them = threadIdx.x < splits;
    double n = one_of_them ? mine[0] : 0, mean_of_part = one_of_them ? mine[1] : 0;
    double mean = sum_of_team(n * mean_of_part, room) / count;
    double apart = mean_of_part - mean;
    double variance = sum_of_team((one_of_them ? mine[2] : 0) + n * apart * apart, room) / count;
    A middle = (A)(mean + (double)get(x, PLACE(0)));
    A inv_std = (A)(1 / sqrt(variance + eps));
    if (part == 0 && threadIdx.x == 0) {
        means[channel] = middle;
        variances[channel] = (A)variance;
        inv_stds[channel] = inv_std;
    }
    A scale = weight ? inv_std * weight[channel] : inv_std;
    A shift = bias ? bias[channel] : (A)0;
    FOR_EACH_OF_CHANNEL(e) set(y, PLACE(e), (get(x, PLACE(e)) - middle) * scale + shift);
}

// y = weight (x - mean) inv_std + bias with given statistics.
KERNEL normalize(
    const T *x, const A *mean, const A *inv_std, const A *weight, const A *bias, T *y, int count, int channels, int inner
) {
    FOR_EACH(i, count) {
        int channel = i / inner % channels;
        A scale = weight ? inv_std[channel] * weight[channel] : inv_std[channel];
        A value = (get(x, i) - mean[channel]) * scale;
        set(y, i, bias ? value + bias[channel] : value);
    }
}

// For each part the sums of dz and of dz t, t = (x - mean) inv_std.
KERNEL gradient_sums(
    const T *dz, const T *x, const A *mean, const A *inv_std, double *parts, int outer, int channels, int inner, int splits
) {
    __shared__ double room[TEAM];
    int channel = blockIdx.x / splits, part = blockIdx.x % splits, count = outer * inner;
    A middle = mean[channel], scale = inv_std[channel], total = 0, products = 0;
    FOR_EACH_OF_CHANNEL(e) {
        A cotangent = get(dz, PLACE(e));
        total += cotangent;
        products += cotangent * ((get(x, PLACE(e)) - middle) * scale);
    }
    double of_cotangents = sum_of_team((double)total, room);
    double of_products = sum_of_team((double)products, room);
    if (threadIdx.x == 0) {
        parts[2 * blockIdx.x] = of_cotangents;
        parts[2 * blockIdx.x + 1] = of_products;
    }
}

// dx = weight inv_std (dz - db / m - t dw / m), and the channel's db and dw from the parts.
KERNEL gradient_by_parts(
    const T *dz, const T *x, const A *weight, const A *mean, const A *inv_std, const double *parts, T *dx, A *dw, A *db,
    int outer, int channels, int inner, int splits
) {
    __shared__ double room[TEAM];
    int channel = blockIdx.x / splits, part = blockIdx.x % splits, count = outer * inner;
    const double *mine = parts + 2 * (channel * splits + threadIdx.x);
    bool one_of_them = threadIdx.x < splits;
    double total = sum_of_team(one_of_them ? mine[0] : 0, room);
    double products = sum_of_team(one_of_them ? mine[1] : 0, room);
    if (part == 0 && threadIdx.x == 0) {
        db[channel] = (A)total;
        dw[channel] = (A)products;
    }
    A middle = mean[channel], spread = inv_std[channel], mean_of_dz = (A)(total / count), slope = (A)(products / count);
    A scale = weight ? spread * weight[channel] : spread;
    FOR_EACH_OF_CHANNEL(e) {
        A t = (get(x, PLACE(e)) - middle) * spread;
        set(dx, PLACE(e), (get(dz, PLACE(e)) - mean_of_dz - t * slope) * scale);
    }
}
