// The kernels that exist once per instruction set.
#ifndef UHAN_KERNELS_H
#define UHAN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/// Bytes: a cache line, and the widest vector.
enum { CK_ALIGNMENT = 64 };

/// A (height, width, channels) image, or as much of it as is there: rows of `columns` pixels from
/// (first_row, first_column) on. pixels is aligned to CK_ALIGNMENT, channels is a multiple of the
/// kernels' panel.
typedef struct {
    float *_Nonnull pixels;
    ptrdiff_t height, width, channels;
    ptrdiff_t first_row, first_column, columns;
} ck_image;

static inline float *_Nonnull ck_pixel(const ck_image *_Nonnull image, ptrdiff_t y, ptrdiff_t x) {
    return image->pixels +
           ((y - image->first_row) * image->columns + x - image->first_column) * image->channels;
}

/// Winograd's F(6 x 6, 3 x 3): outputs a tile has in each direction, and products it takes in all.
enum { CK_TILE = 6, CK_POINTS = 64 };

/// Tiles along a side.
static inline size_t ck_tiles(ptrdiff_t side) { return (size_t)((side + CK_TILE - 1) / CK_TILE); }

/// One step of Adam. The corrections for the first steps' bias are in rate and root_scale:
/// rate / (1 - beta1^t) and 1 / sqrt(1 - beta2^t).
typedef struct {
    float gradient_scale, rate, root_scale, beta1, beta2, epsilon;
} ck_adam;

/// The functions of one instruction set. The portable one is the baseline of the machine that
/// the compiler was told of.
typedef struct {
    const char *_Nonnull name;
    /// Columns of a packed panel.
    size_t panel;

    /// c (rows, panel; rows c_stride apart) = a (rows, k; rows a_stride apart) times a packed
    /// panel (k, panel). Aligned: panel, and every row of c.
    void (*_Nonnull multiply)(const float *_Nonnull a, size_t a_stride, size_t rows,
                              const float *_Nonnull panel, size_t k, float *_Nonnull c,
                              size_t c_stride);

    /// The same, then c = max(0, c + bias), bias (panel) aligned.
    void (*_Nonnull multiply_relu)(const float *_Nonnull a, size_t a_stride, size_t rows,
                                   const float *_Nonnull panel, size_t k,
                                   const float *_Nonnull bias, float *_Nonnull c,
                                   size_t c_stride);

    /// Winograd's input transform of the tiles [first, first + count) of an image with a border
    /// of zeros, row-major: v is (CK_POINTS, count, channels), points v_stride floats apart.
    void (*_Nonnull evaluate_tiles)(const ck_image *_Nonnull image, size_t first,
                                    size_t count, float *_Nonnull v, size_t v_stride);

    /// Winograd's output transform, bias and ReLU, and a 2x2 max-pool where `pool` is not 0:
    /// products (CK_POINTS, count, channels), points p_stride floats apart, become the tiles
    /// [first, first + count) of a height x width image; `out` is that image, or its pooled one.
    void (*_Nonnull interpolate_tiles)(int pool,
                                       const float *_Nonnull products, size_t p_stride,
                                       const float *_Nonnull bias, ptrdiff_t height,
                                       ptrdiff_t width, size_t first, size_t count,
                                       const ck_image *_Nonnull out);

    /// `steps` rounds of multiply-adds on registers alone: what the machine could do at most.
    /// Returns the floating-point operations done; *result is read and written.
    double (*_Nonnull peak)(size_t steps, float *_Nonnull result);

    // Those below take arrays aligned to CK_ALIGNMENT, and counts of columns and values that are
    // multiples of the panel, unless they say otherwise.

    /// Packs a matrix (rows, columns; rows `stride` apart) into panels (rows, panel), one after
    /// the other, the last one filled up with zeros. Any number of columns, any alignment of `from`.
    void (*_Nonnull pack)(const float *_Nonnull from, size_t stride, size_t rows, size_t columns,
                          float *_Nonnull to);

    /// x = tanh(x).
    void (*_Nonnull tanh)(float *_Nonnull x, size_t count);

    /// x = exp(x) / sum of exp(x): minus infinity fills up what there is not. count > 0.
    void (*_Nonnull softmax)(float *_Nonnull x, size_t count);

    /// to += x * scale.
    void (*_Nonnull add_scaled)(float *_Nonnull to, const float *_Nonnull x, float scale,
                                size_t count);

    /// x[row][c] *= factor[c].
    void (*_Nonnull scale_columns)(float *_Nonnull x, const float *_Nonnull factor, size_t rows,
                                   size_t columns);

    /// mean[c] = mean over rows of x[row][c]. rows > 0.
    void (*_Nonnull column_means)(const float *_Nonnull x, size_t rows, size_t columns,
                                  float *_Nonnull mean);

    /// c[i][j] (rows c_stride apart, any alignment) = the dot product of row i of a (a_rows, k) and
    /// row j of b (b_rows, k).
    void (*_Nonnull dots)(const float *_Nonnull a, size_t a_rows, const float *_Nonnull b,
                          size_t b_rows, size_t k, float *_Nonnull c, size_t c_stride);

    /// One LSTM step of `panel` units. Gates in the order input, forget, candidate, output:
    /// input and bias (4, panel), added; previous: k hidden values of the step before, any k and
    /// alignment; recurrent (k, 4, panel). Updates cell (panel), writes hidden (panel).
    /// hard: gates are clip(0.2 x + 0.5, 0, 1) in place of the logistic function.
    void (*_Nonnull lstm)(const float *_Nonnull input, const float *_Nonnull bias,
                          const float *_Nonnull previous, size_t k,
                          const float *_Nonnull recurrent, float *_Nonnull cell,
                          float *_Nonnull hidden, int hard);

    // For training. A derivative of the loss by x is called x_back.

    /// As multiply, but c += a times panel.
    void (*_Nonnull multiply_add)(const float *_Nonnull a, size_t a_stride, size_t rows,
                                  const float *_Nonnull panel, size_t k, float *_Nonnull c,
                                  size_t c_stride);

    /// c (rows, panel) += the transpose of a (k, rows; rows a_stride apart) times a packed panel.
    void (*_Nonnull multiply_transposed_add)(const float *_Nonnull a, size_t a_stride, size_t rows,
                                             const float *_Nonnull panel, size_t k,
                                             float *_Nonnull c, size_t c_stride);

    /// As pack, of the transpose of `from` (columns, rows; rows `stride` apart).
    void (*_Nonnull pack_transposed)(const float *_Nonnull from, size_t stride, size_t rows,
                                     size_t columns, float *_Nonnull to);

    /// x *= 1 - y^2: from the derivative by y = tanh(...) to that by what is inside.
    void (*_Nonnull tanh_back)(float *_Nonnull x, const float *_Nonnull y, size_t count);

    /// x = y > 0 ? x : 0: likewise for y = max(0, ...).
    void (*_Nonnull relu_back)(float *_Nonnull x, const float *_Nonnull y, size_t count);

    /// sum[c] += x[row][c] of all rows, `stride` floats apart.
    void (*_Nonnull add_column_sums)(const float *_Nonnull x, size_t stride, size_t rows,
                                     size_t columns, float *_Nonnull sum);

    /// What follows the products of an LSTM step: gates (4, width), in the order input, forget,
    /// candidate, output, become their values; bias likewise; `before` is the cell of the step
    /// before, null at the first. Writes cell and hidden (width).
    void (*_Nonnull lstm_gates)(float *_Nonnull gates, const float *_Nonnull bias,
                                const float *_Nullable before, float *_Nonnull cell,
                                float *_Nonnull hidden, size_t width, int hard);

    /// Its derivative: gates, the values, become the derivatives by what is inside of them;
    /// cell_back, the derivative by cell from later steps, becomes that by `before`.
    void (*_Nonnull lstm_gates_back)(float *_Nonnull gates, const float *_Nullable before,
                                     const float *_Nonnull cell,
                                     const float *_Nonnull hidden_back, float *_Nonnull cell_back,
                                     size_t width, int hard);

    /// Attention backward, for one post: summary = sum of weights[r] states[r], weights =
    /// softmax(energies), energies[r] = factor . gated[r]; states and gated (rows, width). From
    /// summary_back to states_back, factor_back (both replaced), and gated_back: the derivative by
    /// what is inside gated = tanh(...). energies_back is room for `rows` values.
    void (*_Nonnull attend_back)(const float *_Nonnull states, const float *_Nonnull gated,
                                 size_t rows, size_t width, const float *_Nonnull weights,
                                 const float *_Nonnull factor,
                                 const float *_Nonnull summary_back,
                                 float *_Nonnull energies_back, float *_Nonnull states_back,
                                 float *_Nonnull gated_back, float *_Nonnull factor_back);

    /// factor_back as attend_back gives it, alone.
    void (*_Nonnull attend_factor_back)(const float *_Nonnull states,
                                        const float *_Nonnull gated, size_t rows, size_t width,
                                        const float *_Nonnull weights,
                                        const float *_Nonnull summary_back,
                                        float *_Nonnull energies_back,
                                        float *_Nonnull factor_back);

    /// to = from * scale: `count` bytes, any number and alignment; `to` is filled up with zeros to
    /// whole panels.
    void (*_Nonnull dequantize)(const int8_t *_Nonnull from, float scale, size_t count,
                                float *_Nonnull to);

    /// A step of Adam on `count` parameters and their moments.
    void (*_Nonnull adam)(float *_Nonnull x, const float *_Nonnull gradient, float *_Nonnull mean,
                          float *_Nonnull square, size_t count, const ck_adam *_Nonnull step);
} ck_kernels;

/// Those that this machine can run, best first: null beyond the last.
const ck_kernels *_Nullable ck_kernels_at(size_t index);

/// Winograd's filters, packed: for the outputs [first, first + panel) of weight (outputs, inputs,
/// 3, 3), packed + k * point_stride is the (inputs, panel) panel of G g G^T at point k, computed
/// in float64; outputs beyond the last are zeros.
void ck_winograd_pack(const float *_Nonnull weight, size_t outputs,
                      size_t inputs, size_t first, size_t panel, float *_Nonnull packed,
                      size_t point_stride);

/// The neighbourhoods of the pixels (row, first ... first + count - 1) of a (height, width,
/// channels) image with a border of zeros: (count + 2, 3, channels), so that the 9 * channels
/// values from 3 * channels * i on are those around pixel first + i, ordered (kx, ky, channel).
void ck_pack_row_3x3(const float *_Nonnull image, ptrdiff_t height, ptrdiff_t width,
                     ptrdiff_t channels, ptrdiff_t row, ptrdiff_t first, ptrdiff_t count,
                     float *_Nonnull packed);

#endif
