// Loops over arrays.

static void NAME(tanh)(float *x, size_t count) {
    for (size_t i = 0; i < count; i += WIDTH) store(x + i, tangent(load(x + i)));
}

static void NAME(softmax)(float *x, size_t count) {
    vector tops = load(x);
    for (size_t i = WIDTH; i < count; i += WIDTH) tops = larger_of(tops, load(x + i));
    float top = tops[0];
    for (int lane = 1; lane < WIDTH; lane++) top = tops[lane] > top ? tops[lane] : top;
    vector sums = splat(0);
    for (size_t i = 0; i < count; i += WIDTH) {
        const vector power = exponential(load(x + i) - top);
        store(x + i, power);
        sums += power;
    }
    const vector sum = splat(sum_of(sums));
    for (size_t i = 0; i < count; i += WIDTH) store(x + i, load(x + i) / sum);
}

static void NAME(add_scaled)(float *to, const float *x, float scale, size_t count) {
    for (size_t i = 0; i < count; i += WIDTH) store(to + i, load(to + i) + load(x + i) * scale);
}

static void NAME(scale_columns)(float *x, const float *factor, size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; row++, x += columns)
        for (size_t c = 0; c < columns; c += WIDTH) store(x + c, load(x + c) * load(factor + c));
}

static void NAME(column_means)(const float *x, size_t rows, size_t columns, float *mean) {
    for (size_t c = 0; c < columns; c += PANEL) {
        vector sum[VECTORS];
        UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = splat(0);
        for (size_t row = 0; row < rows; row++)
            UNROLL for (int v = 0; v < VECTORS; v++)
                sum[v] += load(x + row * columns + c + v * WIDTH);
        UNROLL for (int v = 0; v < VECTORS; v++)
            store(mean + c + v * WIDTH, sum[v] * (1 / (float)rows));
    }
}

// Rows times rows, a few of each at a time: every value loaded serves several sums. A sum does not
// depend on which rows are computed along with it.
enum { DOTS_ROWS = 2, DOTS_COLUMNS = 4 };

static void NAME(dots)(const float *a, size_t a_rows, const float *b, size_t b_rows, size_t k,
                       float *c, size_t c_stride) {
    for (size_t column = 0; column < b_rows; column += DOTS_COLUMNS)
        for (size_t row = 0; row < a_rows; row += DOTS_ROWS) {
            // Beyond the last row stands the last one again: computed twice, stored twice.
            size_t rows[DOTS_ROWS], columns[DOTS_COLUMNS];
            UNROLL for (size_t i = 0; i < DOTS_ROWS; i++)
                rows[i] = row + i < a_rows ? row + i : a_rows - 1;
            UNROLL for (size_t j = 0; j < DOTS_COLUMNS; j++)
                columns[j] = column + j < b_rows ? column + j : b_rows - 1;
            vector sum[DOTS_ROWS][DOTS_COLUMNS];
            UNROLL for (int i = 0; i < DOTS_ROWS; i++)
                UNROLL for (int j = 0; j < DOTS_COLUMNS; j++) sum[i][j] = splat(0);
            for (size_t at = 0; at < k; at += WIDTH) {
                vector x[DOTS_ROWS];
                UNROLL for (int i = 0; i < DOTS_ROWS; i++) x[i] = load(a + rows[i] * k + at);
                UNROLL for (int j = 0; j < DOTS_COLUMNS; j++) {
                    const vector y = load(b + columns[j] * k + at);
                    UNROLL for (int i = 0; i < DOTS_ROWS; i++) sum[i][j] += x[i] * y;
                }
            }
            UNROLL for (int i = 0; i < DOTS_ROWS; i++)
                UNROLL for (int j = 0; j < DOTS_COLUMNS; j++)
                    c[rows[i] * c_stride + columns[j]] = sum_of(sum[i][j]);
        }
}

typedef int8_t bytes __attribute__((ext_vector_type(WIDTH)));

static void NAME(dequantize)(const int8_t *from, float scale, size_t count, float *to) {
    for (size_t i = 0; i < (count + PANEL - 1) / PANEL * PANEL; i += WIDTH) {
        bytes x = (bytes)(0);
        const size_t rest = count > i ? count - i : 0;
        // Sizes that are known are moved in one instruction.
        if (rest >= WIDTH)
            __builtin_memcpy(&x, from + i, WIDTH);
        else
            for (size_t j = 0; j < rest; j++) x[j] = from[i + j];
        store(to + i, __builtin_convertvector(x, vector) * scale);
    }
}

static void NAME(pack)(const float *from, size_t stride, size_t rows, size_t columns, float *to) {
    for (size_t c = 0; c < columns; c += PANEL)
        for (size_t row = 0; row < rows; row++, to += PANEL) {
            const float *line = from + row * stride + c;
            if (c + PANEL <= columns) {
                __builtin_memcpy(to, line, PANEL * sizeof(float));
            } else {
                for (size_t i = 0; i < PANEL; i++) to[i] = c + i < columns ? line[i] : 0;
            }
        }
}

// A square of the matrix at a time, so that lines read across are used whole while they are near.
static void NAME(pack_transposed)(const float *from, size_t stride, size_t rows, size_t columns,
                                  float *to) {
    for (size_t c = 0; c < columns; c += PANEL, to += rows * PANEL)
        for (size_t first = 0; first < rows; first += WIDTH) {
            const size_t end = rows - first < WIDTH ? rows : first + WIDTH;
            for (size_t j = 0; j < PANEL; j++)
                for (size_t row = first; row < end; row++)
                    to[row * PANEL + j] = c + j < columns ? from[(c + j) * stride + row] : 0;
        }
}
