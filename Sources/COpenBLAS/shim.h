#include <cblas.h>

// LAPACK's solution of A X = B for a symmetric, positive definite A (order, order), by Cholesky's
// decomposition; OpenBLAS has it, but Debian's headers for it are another package.
void dposv_(const char *triangle, const int *order, const int *rights, double *a, const int *a_leading,
            double *b, const int *b_leading, int *status);
