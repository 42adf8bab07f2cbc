// Memory layouts that the kernels read, made once per model or per row.
#include "CKernels.h"

#include <string.h>

enum { POINTS = CK_TILE + 2 };

// G's rows: [1, p, p^2] / f_p for each finite point p, where f_p = prod over other points q of
// (p - q), and [0, 0, 1] for infinity. Points as in generic/winograd.h.
static void filter_points(double g[POINTS][3]) {
        const double at[POINTS - 1] = {0, 1, -1, 2, -2, 0.5, -0.5};
    for (int i = 0; i < POINTS - 1; i++) {
        double f = 1;
        for (int j = 0; j < POINTS - 1; j++)
            if (j != i) f *= at[i] - at[j];
        g[i][0] = 1 / f;
        g[i][1] = at[i] / f;
        g[i][2] = at[i] * at[i] / f;
    }
    g[POINTS - 1][0] = g[POINTS - 1][1] = 0;
    g[POINTS - 1][2] = 1;
}

void ck_winograd_pack(const float *weight, size_t outputs, size_t inputs,
                      size_t first, size_t panel, float *packed, size_t point_stride) {
    enum { LANES = 8 };  // outputs side by side, for the compiler to vectorise
    double g[POINTS][3];
    filter_points(g);
    for (size_t c = 0; c < inputs; c++)
        for (size_t lane = 0; lane < panel; lane += LANES) {
            double filter[3][3][LANES], half[POINTS][3][LANES];
            memset(filter, 0, sizeof filter);
            for (size_t l = 0; l < LANES; l++) {
                const size_t o = first + lane + l;
                if (o >= outputs) break;
                const float *from = weight + (o * inputs + c) * 9;
                for (int i = 0; i < 9; i++) filter[i / 3][i % 3][l] = from[i];
            }
            for (int i = 0; i < POINTS; i++)
                for (int x = 0; x < 3; x++)
                    for (int l = 0; l < LANES; l++)
                        half[i][x][l] = g[i][0] * filter[0][x][l] + g[i][1] * filter[1][x][l] +
                                        g[i][2] * filter[2][x][l];
            for (int i = 0; i < POINTS; i++)
                for (int j = 0; j < POINTS; j++) {
                    float *to = packed + (size_t)(i * POINTS + j) * point_stride + c * panel + lane;
                    for (int l = 0; l < LANES; l++)
                        to[l] = (float)(g[j][0] * half[i][0][l] + g[j][1] * half[i][1][l] +
                                        g[j][2] * half[i][2][l]);
                }
        }
}

void ck_pack_row_3x3(const float *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
                     ptrdiff_t row, ptrdiff_t first, ptrdiff_t count, float *packed) {
    const ptrdiff_t step = 3 * channels;  // a column of three pixels
    for (ptrdiff_t ky = 0; ky < 3; ky++) {
        const ptrdiff_t y = row + ky - 1;
        float *to = packed + ky * channels;
        const int above_or_below = y < 0 || y >= height;
        const float *from = above_or_below ? 0 : image + y * width * channels;
        for (ptrdiff_t x = first - 1; x < first + count + 1; x++, to += step) {
            const int outside = above_or_below || x < 0 || x >= width;
            if (outside)
                for (ptrdiff_t c = 0; c < channels; c++) to[c] = 0;
            else if (channels == 3)  // the usual picture: no loop around three moves
                memcpy(to, from + 3 * x, 3 * sizeof(float));
            else
                memcpy(to, from + x * channels, (size_t)channels * sizeof(float));
        }
    }
}
