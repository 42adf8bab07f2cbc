#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int failures = 0;

void expect(int condition, const char *what, const char *set, long a, long b, double error) {
    if (condition) return;
    if (failures++ < 20) printf("FAIL %s %s at %ld, %ld: error %g\n", set, what, a, b, error);
}

float *floats(size_t count) {
    const size_t bytes = (count * sizeof(float) + CK_ALIGNMENT) / CK_ALIGNMENT * CK_ALIGNMENT;
    float *memory = aligned_alloc(CK_ALIGNMENT, bytes);
    if (!memory) exit(2);
    return memory;
}

float noise(void) {
    static uint32_t state = 1;
    state = state * 1664525 + 1013904223;
    return (float)(state >> 8) / (1 << 24) - 0.5f;
}

float *noises(size_t count) {
    float *memory = floats(count);
    for (size_t i = 0; i < count; i++) memory[i] = noise();
    return memory;
}

double gate(double x, int hard) {
    if (!hard) return 1 / (1 + exp(-x));
    const double y = 0.2 * x + 0.5;
    return y < 0 ? 0 : y > 1 ? 1 : y;
}
