// What the tests of the kernels share.
#ifndef UHAN_CHECK_H
#define UHAN_CHECK_H

#include "CKernels.h"

/// Failed expectations so far.
extern int failures;

/// a and b say which sizes or which element.
void expect(int condition, const char *what, const char *set, long a, long b, double error);

/// Room aligned to CK_ALIGNMENT.
float *floats(size_t count);

/// Uniform in -0.5 ... 0.5, the same sequence in every run.
float noise(void);
float *noises(size_t count);

/// A gate of the LSTM in float64.
double gate(double x, int hard);

/// The kernels of training: training_test.c.
void test_training(const ck_kernels *kernels);

#endif
