// What training needs beyond the forward pass: derivatives, each beside what it is of, and Adam.

// x, the derivative by y = tanh(...), becomes the derivative by what is inside.
static void NAME(tanh_back)(float *x, const float *y, size_t count) {
    for (size_t i = 0; i < count; i += WIDTH) {
        const vector t = load(y + i);
        store(x + i, load(x + i) * (1 - t * t));
    }
}

static void NAME(relu_back)(float *x, const float *y, size_t count) {
    for (size_t i = 0; i < count; i += WIDTH)
        store(x + i, load(y + i) > 0 ? load(x + i) : splat(0));
}

static void NAME(add_column_sums)(const float *x, size_t stride, size_t rows, size_t columns,
                                  float *sum) {
    for (size_t c = 0; c < columns; c += PANEL) {
        vector total[VECTORS];
        UNROLL for (int v = 0; v < VECTORS; v++) total[v] = load(sum + c + v * WIDTH);
        for (size_t first = 0; first < rows; first += TERMS) {
            const size_t end = rows - first < TERMS ? rows : first + TERMS;
            vector part[VECTORS];
            UNROLL for (int v = 0; v < VECTORS; v++) part[v] = splat(0);
            for (size_t row = first; row < end; row++)
                UNROLL for (int v = 0; v < VECTORS; v++)
                    part[v] += load(x + row * stride + c + v * WIDTH);
            UNROLL for (int v = 0; v < VECTORS; v++) total[v] += part[v];
        }
        UNROLL for (int v = 0; v < VECTORS; v++) store(sum + c + v * WIDTH, total[v]);
    }
}

// c = f c' + i g, h = o tanh(c).
static void NAME(lstm_gates)(float *gates, const float *bias, const float *before, float *cell,
                             float *hidden, size_t width, int hard) {
    for (size_t j = 0; j < width; j += WIDTH) {
        const vector i = gate(load(gates + j) + load(bias + j), hard);
        const vector f = gate(load(gates + width + j) + load(bias + width + j), hard);
        const vector g = tangent(load(gates + 2 * width + j) + load(bias + 2 * width + j));
        const vector o = gate(load(gates + 3 * width + j) + load(bias + 3 * width + j), hard);
        const vector c = before ? f * load(before + j) + i * g : i * g;
        store(gates + j, i), store(gates + width + j, f);
        store(gates + 2 * width + j, g), store(gates + 3 * width + j, o);
        store(cell + j, c);
        store(hidden + j, o * tangent(c));
    }
}

// The derivative of a gate, given its value: at the corners of the hard one 0, as in PyTorch.
INLINE vector gate_slope(vector y, int hard) {
    if (!hard) return y * (1 - y);
    const vector rising = y > 0 ? splat(0.2f) : splat(0);
    return y < 1 ? rising : splat(0);
}

static void NAME(lstm_gates_back)(float *gates, const float *before, const float *cell,
                                  const float *hidden_back, float *cell_back, size_t width,
                                  int hard) {
    for (size_t j = 0; j < width; j += WIDTH) {
        const vector i = load(gates + j), f = load(gates + width + j);
        const vector g = load(gates + 2 * width + j), o = load(gates + 3 * width + j);
        const vector h = load(hidden_back + j), t = tangent(load(cell + j));
        const vector c = load(cell_back + j) + h * o * (1 - t * t);
        store(gates + j, c * g * gate_slope(i, hard));
        store(gates + width + j, before ? c * load(before + j) * gate_slope(f, hard) : splat(0));
        store(gates + 2 * width + j, c * i * (1 - g * g));
        store(gates + 3 * width + j, h * t * gate_slope(o, hard));
        store(cell_back + j, c * f);
    }
}

// summary = sum of weights[r] states[r], weights = softmax(energies), energies[r] = factor . gated[r]
// and gated = tanh(x): from the derivative by summary to those by states, x and factor.
static void NAME(attend_back)(const float *states, const float *gated, size_t rows, size_t width,
                              const float *weights, const float *factor,
                              const float *summary_back, float *energies_back,
                              float *states_back, float *gated_back, float *factor_back) {
    for (size_t j = 0; j < width; j += WIDTH) store(factor_back + j, splat(0));
    float mean = 0;
    for (size_t row = 0; row < rows; row++) {
        vector dot = splat(0);
        const vector weight = splat(weights[row]);
        for (size_t j = 0; j < width; j += WIDTH) {
            const vector back = load(summary_back + j);
            // Softmax does not see what all states have in common: without it the differences,
            // which are all that counts, keep their digits.
            dot += (load(states + row * width + j) - load(states + j)) * back;
            store(states_back + row * width + j, weight * back);
        }
        energies_back[row] = sum_of(dot);
        mean += weights[row] * energies_back[row];
    }
    for (size_t row = 0; row < rows; row++) {
        energies_back[row] = weights[row] * (energies_back[row] - mean);
        const vector energy = splat(energies_back[row]);
        for (size_t j = 0; j < width; j += WIDTH) {
            const vector y = load(gated + row * width + j);
            store(gated_back + row * width + j, energy * load(factor + j) * (1 - y * y));
            store(factor_back + j, load(factor_back + j) + energy * y);
        }
    }
}

// Where only the factor moves there is nothing to write for each row, and reading bounds the speed:
// a few rows at a time share what is loaded besides.
enum { ATTEND_ROWS = 4 };

static void NAME(attend_factor_back)(const float *states, const float *gated, size_t rows,
                                     size_t width, const float *weights,
                                     const float *summary_back, float *energies_back,
                                     float *factor_back) {
    float mean = 0;
    for (size_t first = 0; first < rows; first += ATTEND_ROWS) {
        const float *state[ATTEND_ROWS];
        vector dot[ATTEND_ROWS];
        UNROLL for (size_t r = 0; r < ATTEND_ROWS; r++) {
            state[r] = states + (first + r < rows ? first + r : rows - 1) * width;
            dot[r] = splat(0);
        }
        for (size_t j = 0; j < width; j += WIDTH) {
            // As in attend_back: what all states have in common is left out.
            const vector common = load(states + j), back = load(summary_back + j);
            UNROLL for (int r = 0; r < ATTEND_ROWS; r++)
                dot[r] += (load(state[r] + j) - common) * back;
        }
        UNROLL for (size_t r = 0; r < ATTEND_ROWS; r++)
            if (first + r < rows) {
                energies_back[first + r] = sum_of(dot[r]);
                mean += weights[first + r] * energies_back[first + r];
            }
    }
    for (size_t row = 0; row < rows; row++)
        energies_back[row] = weights[row] * (energies_back[row] - mean);

    for (size_t j = 0; j < width; j += WIDTH) store(factor_back + j, splat(0));
    for (size_t first = 0; first < rows; first += ATTEND_ROWS) {
        const float *y[ATTEND_ROWS];
        vector energy[ATTEND_ROWS];
        UNROLL for (size_t r = 0; r < ATTEND_ROWS; r++) {
            const int is_there = first + r < rows;
            y[r] = gated + (is_there ? first + r : rows - 1) * width;
            energy[r] = splat(is_there ? energies_back[first + r] : 0);
        }
        for (size_t j = 0; j < width; j += WIDTH) {
            vector sum = splat(0);
            UNROLL for (int r = 0; r < ATTEND_ROWS; r++) sum += energy[r] * load(y[r] + j);
            store(factor_back + j, load(factor_back + j) + sum);
        }
    }
}

// Adam (Kingma, Ba 2015), algorithm 1, in the order of operations of PyTorch's.
static void NAME(adam)(float *x, const float *gradient, float *mean, float *square, size_t count,
                       const ck_adam *step) {
    const vector scale = splat(step->gradient_scale), rate = splat(step->rate);
    const vector root = splat(step->root_scale), epsilon = splat(step->epsilon);
    const vector beta1 = splat(step->beta1), beta2 = splat(step->beta2);
    for (size_t i = 0; i < count; i += WIDTH) {
        const vector g = load(gradient + i) * scale;
        const vector m = load(mean + i) + (g - load(mean + i)) * (1 - beta1);
        const vector v = load(square + i) * beta2 + g * g * (1 - beta2);
        store(mean + i, m), store(square + i, v);
        store(x + i, load(x + i) - rate * m / (__builtin_elementwise_sqrt(v) * root + epsilon));
    }
}
