// Winograd's minimal filtering F(6 x 6, 3 x 3) (Winograd 1980; Lavin, Gray 2016): 36 outputs from
// 64 products where the direct way takes 324.
//
// A tile of 8 x 8 input pixels and a filter are each evaluated at 8 points in each direction,
// multiplied there, and interpolated. The points are 0, +-1, +-2, +-1/2 and infinity. With S(t) =
// prod over pairs (t - p^2), and Q_p(t) the same without p's own factor, the rows of B^T, which
// evaluates the input, are the coefficients of S(x^2) for 0, of x S(x^2) for infinity, and of
// x (x +- p) Q_p(x^2) for +-p: an even and an odd half, whose sum and difference give both.
// All are exact in float32.

enum { OUTPUTS = CK_TILE, POINTS = CK_TILE + 2, PAIRS = 3 };

static const float pair[PAIRS] = {1, 2, 0.5f};
// Coefficients of S and of each Q_p, lowest first, without the highest, which is 1.
static const float s[PAIRS] = {-1, 5.25f, -5.25f};
static const float q[PAIRS][PAIRS - 1] = {{1, -4.25f}, {0.25f, -1.25f}, {4, -5}};

// B^T d: 8 values to 8 points.
INLINE void evaluate(const vector *d, vector *at) {
    enum { n = PAIRS };
    vector zero = d[2 * n], infinity = d[2 * n + 1];
    UNROLL for (int i = 0; i < n; i++) {
        zero += d[2 * i] * s[i];
        infinity += d[2 * i + 1] * s[i];
    }
    at[0] = zero;
    at[2 * n + 1] = infinity;
    UNROLL for (int p = 0; p < n; p++) {
        vector even = d[2 * n], odd = d[2 * n - 1];
        UNROLL for (int i = 0; i < n - 1; i++) {
            even += d[2 * i + 2] * q[p][i];
            odd += d[2 * i + 1] * q[p][i];
        }
        at[2 * p + 1] = even + odd * pair[p];
        at[2 * p + 2] = even - odd * pair[p];
    }
}

// A^T x: 8 points to 6 outputs, output i being the sum of x_p p^i.
INLINE void interpolate(const vector *at, vector *y) {
    enum { n = PAIRS };
    vector sum[n], difference[n];
    UNROLL for (int p = 0; p < n; p++) {
        sum[p] = at[2 * p + 1] + at[2 * p + 2];
        difference[p] = at[2 * p + 1] - at[2 * p + 2];
    }
    float power[n] = {1, 1, 1};
    UNROLL for (int i = 0; i < 2 * n; i++) {
        vector total = (i % 2 ? difference[0] : sum[0]) * power[0];
        if (i == 0) total += at[0];
        if (i == 2 * n - 1) total += at[2 * n + 1];
        UNROLL for (int p = 0; p < n; p++) {
            if (p > 0) total += (i % 2 ? difference[p] : sum[p]) * power[p];
            power[p] *= pair[p];
        }
        y[i] = total;
    }
}

// The 8 x 8 pixels around a tile, WIDTH channels from c on, with zeros outside the image.
INLINE void padded_patch(const ck_image *image, ptrdiff_t top, ptrdiff_t left,
                         size_t c, float *patch) {
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < POINTS; j++, patch += WIDTH) {
            const ptrdiff_t y = top + i, x = left + j;
            const int outside = y < 0 || x < 0 || y >= image->height || x >= image->width;
            store(patch, outside ? splat(0) : load(ck_pixel(image, y, x) + c));
        }
}

// v[point][tile][channel] = B^T d B of the tiles [first, first + count), row-major over the image.
static void NAME(evaluate_tiles)(const ck_image *image, size_t first, size_t count,
                           float *v, size_t v_stride) {
    enum { a = POINTS, m = OUTPUTS };
    const size_t channels = (size_t)image->channels, across = ck_tiles(image->width);
    for (size_t n = 0; n < count; n++, v += channels) {
        const ptrdiff_t top = (ptrdiff_t)((first + n) / across) * m - 1;
        const ptrdiff_t left = (ptrdiff_t)((first + n) % across) * m - 1;
        const int inside =
            top >= 0 && left >= 0 && top + a <= image->height && left + a <= image->width;
        for (size_t c = 0; c < channels; c += WIDTH) {
            _Alignas(CK_ALIGNMENT) float patch[a * a * WIDTH];
            const float *from = patch;
            size_t row = (size_t)a * WIDTH, column = WIDTH;
            if (inside) {
                from = ck_pixel(image, top, left) + c;
                row = (size_t)image->columns * channels;
                column = channels;
            } else {
                padded_patch(image, top, left, c, patch);
            }

            vector columns[a][a];
            NOUNROLL for (int j = 0; j < a; j++, from += column) {
                vector d[a], e[a];
                UNROLL for (int i = 0; i < a; i++) {
                    d[i] = load(from + (size_t)i * row);
                    __builtin_prefetch(from + (size_t)i * row + (size_t)m * column, 0, 3);
                }
                evaluate(d, e);
                UNROLL for (int i = 0; i < a; i++) columns[i][j] = e[i];
            }
            float *to = v + c;
            NOUNROLL for (int i = 0; i < a; i++) {
                vector e[a];
                evaluate(columns[i], e);
                UNROLL for (int j = 0; j < a; j++, to += v_stride) {
                    store(to, e[j]);
                    __builtin_prefetch(to + WIDTH, 1);
                }
            }
        }
    }
}

// relu(A^T M A + bias) of the tiles [first, first + count) into the image, or its 2x2 max-pool
// (an odd last row or column has no partner and is dropped).
static void NAME(interpolate_tiles)(int pool, const float *products,
                              size_t p_stride, const float *bias, ptrdiff_t height,
                              ptrdiff_t width, size_t first, size_t count, const ck_image *out) {
    enum { a = POINTS, m = OUTPUTS };
    const size_t channels = (size_t)out->channels, across = ck_tiles(width);
    for (size_t n = 0; n < count; n++, products += channels) {
        const ptrdiff_t top = (ptrdiff_t)((first + n) / across) * m;
        const ptrdiff_t left = (ptrdiff_t)((first + n) % across) * m;
        const int rows_inside = height - top < m ? (int)(height - top) : m;
        const int columns_inside = width - left < m ? (int)(width - left) : m;
        for (size_t c = 0; c < channels; c += WIDTH) {
            vector rows[a][a];
            const float *from = products + c;
            NOUNROLL for (int j = 0; j < a; j++, from += p_stride) {
                vector d[a], y[a];
                UNROLL for (int i = 0; i < a; i++) {
                    d[i] = load(from + (size_t)(i * a) * p_stride);
                    __builtin_prefetch(from + (size_t)(i * a) * p_stride + WIDTH);
                }
                interpolate(d, y);
                UNROLL for (int i = 0; i < m; i++) rows[i][j] = y[i];
            }

            const vector shift = load(bias + c);
            if (pool) {
                NOUNROLL for (int i = 0; i + 1 < rows_inside; i += 2) {
                    vector y[a], z[a];
                    interpolate(rows[i], y);
                    interpolate(rows[i + 1], z);
                    float *to = ck_pixel(out, (top + i) / 2, left / 2) + c;
                    UNROLL for (int j = 0; j < m; j += 2) {
                        const vector largest = larger_of(larger_of(y[j], y[j + 1]),
                                                         larger_of(z[j], z[j + 1]));
                        if (j + 1 < columns_inside)
                            store(to + (size_t)(j / 2) * channels,
                                  larger_of(largest + shift, splat(0)));
                    }
                }
            } else {
                NOUNROLL for (int i = 0; i < rows_inside; i++) {
                    vector y[a];
                    interpolate(rows[i], y);
                    float *to = ck_pixel(out, top + i, left) + c;
                    UNROLL for (int j = 0; j < m; j++)
                        if (j < columns_inside)
                            store(to + (size_t)j * channels, larger_of(y[j] + shift, splat(0)));
                    UNROLL for (int j = 0; j < m; j++) __builtin_prefetch(to + (size_t)(m + j) * channels, 1);
                }
            }
        }
    }
}
