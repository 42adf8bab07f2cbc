// One step of a long short-term memory (Hochreiter, Schmidhuber 1997; with forget gate), PANEL units
// of it: the recurrent product and what follows it. The weights of a unit's four gates lie side by
// side, so that they are read once, in order, and the gates are at hand when the sums are done.
// It is bound by the speed at which the weights come in.

INLINE vector hard_sigmoid(vector x) {
    return larger_or_nan(smaller_or_nan(x * 0.2f + 0.5f, 1), 0);
}

INLINE vector gate(vector x, int hard) { return hard ? hard_sigmoid(x) : logistic(x); }

static void NAME(lstm)(const float *input, const float *bias, const float *previous, size_t k,
                       const float *recurrent, float *cell, float *hidden, int hard) {
    enum { INPUT, FORGET, CANDIDATE, OUTPUT, GATES };
    vector z[GATES][VECTORS];
    UNROLL for (int g = 0; g < GATES; g++)
        UNROLL for (int v = 0; v < VECTORS; v++)
            z[g][v] = load(input + g * PANEL + v * WIDTH) + load(bias + g * PANEL + v * WIDTH);
#pragma clang loop unroll_count(2)
    for (size_t i = 0; i < k; i++, recurrent += GATES * PANEL) {
        const vector h = splat(previous[i]);
        UNROLL for (int g = 0; g < GATES; g++)
            UNROLL for (int v = 0; v < VECTORS; v++)
                z[g][v] += h * load(recurrent + g * PANEL + v * WIDTH);
    }
    UNROLL for (int v = 0; v < VECTORS; v++) {
        const vector c = gate(z[FORGET][v], hard) * load(cell + v * WIDTH) +
                         gate(z[INPUT][v], hard) * tangent(z[CANDIDATE][v]);
        store(cell + v * WIDTH, c);
        store(hidden + v * WIDTH, gate(z[OUTPUT][v], hard) * tangent(c));
    }
}
