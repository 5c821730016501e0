// Adding up at places that may be named more than once: the gradients of picking. The sums are of type A, so float16 is
// summed in float32; in which order a place's numbers arrive is the GPU's affair, as in PyTorch.

// z[index[r], j] += dz[r, j] for dz (rows, width), z (length, width); an index below 0 counts from the end.
KERNEL add_rows(const T *dz, const long long *index, A *z, int rows, int width, int length) {
    FOR_EACH(i, rows * width) {
        long long place = index[i / width];
        if (place < 0) place += length;
        if (place >= 0 && place < length) atomicAdd(z + (int)place * width + i % width, get(dz, i));
    }
}

// z[o, index[o, m, i], i] += dz[o, m, i] for dz and index (outer, count, inner), z (outer, length, inner).
KERNEL add_along(const T *dz, const long long *index, A *z, int outer, int count, int inner, int length) {
    FOR_EACH(i, outer * count * inner) {
        long long place = index[i];
        if (place < 0) place += length;
        int row = i / (count * inner);
        if (place >= 0 && place < length) atomicAdd(z + (row * length + (int)place) * inner + i % inner, get(dz, i));
    }
}
