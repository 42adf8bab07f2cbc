// Feeds arbitrary bytes to the JPEG decoder. See README.md for how to build and run.
//
// Every input must end in a picture or in a message, without touching memory that is not its own
// and within the limits. A picture must be complete and the same each time (decoded twice, over
// buffers filled differently), and must survive encoding and decoding again.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "CJPEG.h"

enum { SIDE = 48, PIXEL_BYTES = SIDE * SIDE * 3 };

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                             \
        }                                                                        \
    } while (0)

static cjpeg_status check(const uint8_t *bytes, size_t count, const cjpeg_limits *limits,
                          char message[CJPEG_MESSAGE_SIZE]) {
    static uint8_t pixels[PIXEL_BYTES], again[PIXEL_BYTES];
    memset(pixels, 0x55, sizeof pixels);
    memset(again, 0xaa, sizeof again);
    char ignored[CJPEG_MESSAGE_SIZE];

    const cjpeg_kernels *fastest = cjpeg_kernels_at(0), *plain = cjpeg_reference_kernels();
    cjpeg_status status = cjpeg_decode_square(fastest, bytes, count, SIDE, limits, pixels, message);
    CHECK(memchr(message, '\0', CJPEG_MESSAGE_SIZE) != NULL);
    CHECK((status == CJPEG_OK) == (message[0] == '\0'));
    CHECK(status != CJPEG_BAD_ARGUMENT);
    // libjpeg's own Huffman decoding, and plain loops: the same verdict, the same pixels.
    CHECK(cjpeg_decode_square(plain, bytes, count, SIDE, limits, again, ignored) == status);
    if (status != CJPEG_OK) {
        return status;
    }
    CHECK(memcmp(pixels, again, sizeof pixels) == 0);

    uint8_t *encoded = NULL;
    size_t encoded_count = 0;
    CHECK(cjpeg_encode(pixels, SIDE, SIDE, 90, &encoded, &encoded_count, ignored) == CJPEG_OK);
    CHECK(cjpeg_decode_square(fastest, encoded, encoded_count, SIDE, limits, again, ignored) ==
          CJPEG_OK);
    cjpeg_free(encoded);
    return status;
}

#ifndef STANDALONE

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    // Small, so that the fuzzer's time goes into many inputs rather than into large pictures.
    const cjpeg_limits limits = {
        .maximum_bytes = 1 << 20,
        .maximum_pixels = 1 << 20,
        .maximum_memory_bytes = 16 << 20,
        .maximum_scans = 30,
        .maximum_coefficient_visits = 20000000,
    };
    char message[CJPEG_MESSAGE_SIZE];
    check(bytes, count, &limits, message);
    return 0;
}

#else

// Names on the command line: one line per file, exit code 1 where a file cannot be read.
int main(int count, char **names) {
    static const char *const words[] = {"ok", "not_jpeg", "corrupt", "too_large",
                                        "too_many_scans", "unsupported", "out_of_memory"};
    // The defaults of ImageLimits.
    const cjpeg_limits limits = {
        .maximum_bytes = 20 << 20,
        .maximum_pixels = 64 << 20,
        .maximum_memory_bytes = 256 << 20,
        .maximum_scans = 100,
        .maximum_coefficient_visits = 1000000000,
    };
    int failures = 0;
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(names[i], "rb");
        if (!file) {
            perror(names[i]);
            failures++;
            continue;
        }
        size_t capacity = limits.maximum_bytes + 1;
        uint8_t *bytes = malloc(capacity);
        CHECK(bytes != NULL);
        size_t size = fread(bytes, 1, capacity, file);
        fclose(file);
        bytes = realloc(bytes, size > 0 ? size : 1);  // a read past the end is seen
        CHECK(bytes != NULL);

        char message[CJPEG_MESSAGE_SIZE];
        clock_t start = clock();
        cjpeg_status status = check(bytes, size, &limits, message);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        printf("%-14s %7.3f s  %s  %s\n", words[status], seconds, names[i], message);
        free(bytes);
    }
    return failures ? 1 : 0;
}

#endif
