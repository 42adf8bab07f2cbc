// JPEG bytes to a small square of RGB pixels, and back, over libjpeg-turbo.
//
// Flat calls: nothing of libjpeg (its structs, its setjmp/longjmp, its messages on stderr) is
// visible from outside. Each call keeps its state on its own stack (60 KB), so calls may run in
// parallel.

#ifndef CJPEG_H
#define CJPEG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CJPEG_OK = 0,
    // The bytes do not begin like a JPEG.
    CJPEG_NOT_JPEG,
    // libjpeg gave up, or would have had to invent or repair pixels.
    CJPEG_CORRUPT,
    // A limit on bytes, pixels or memory.
    CJPEG_TOO_LARGE,
    // A limit on the number of scans, or on the work that they add up to.
    CJPEG_TOO_MANY_SCANS,
    // A valid kind of JPEG that is not read here: arithmetic coding, 12 bits, lossless, ...
    CJPEG_UNSUPPORTED,
    // malloc failed.
    CJPEG_OUT_OF_MEMORY,
    // The caller's arguments make no sense (side, width, height, quality).
    CJPEG_BAD_ARGUMENT,
} cjpeg_status;

typedef struct {
    size_t maximum_bytes;
    // Of the picture as its header declares it, before any scaling.
    uint64_t maximum_pixels;
    // What decoding may allocate, computed from the header before anything large is allocated.
    // libjpeg's own max_memory_to_use would not do: it is asked about the coefficient arrays
    // only, and when it does not suffice the answer is the error of a missing backing store.
    uint64_t maximum_memory_bytes;
    int maximum_scans;
    // Over all scans of a picture in several scans: blocks times coefficients in the scan's band.
    // A scan of a few bytes ("nothing changes in the next 32767 blocks") costs as much time as
    // one with data, so the number of input bytes is no bound on the work.
    uint64_t maximum_coefficient_visits;
} cjpeg_limits;

// Room for a message, with its terminating zero.
enum { CJPEG_MESSAGE_SIZE = 256 };

enum { CJPEG_MAXIMUM_SIDE = 4096 };

// The loops that take the time, compiled for one instruction set. All give the same pixels.
typedef struct cjpeg_kernels cjpeg_kernels;

// Those that this machine can run, best first: null beyond the last.
const cjpeg_kernels *cjpeg_kernels_at(size_t index);

// Plain loops, and libjpeg's own Huffman decoding: what the others are compared with.
const cjpeg_kernels *cjpeg_reference_kernels(void);

// libjpeg's decoding and nothing after it: all pixels become 0. For measuring.
const cjpeg_kernels *cjpeg_libjpeg_alone(void);

// avx512, avx2, neon, portable; or one of the two above.
const char *cjpeg_kernels_name(const cjpeg_kernels *kernels);

// Decodes a JPEG and stretches it to side x side pixels: interleaved R, G, B, rows top down,
// into rgb (side * side * 3 bytes; complete only where the result is CJPEG_OK).
//
// libjpeg reads the headers, turns coefficients into pixels and judges what is damaged. The
// Huffman decoding of a picture in one scan is our own; where something in the scan is not in
// order, libjpeg decodes the picture anew, by itself. What is refused, and in which words, is
// libjpeg's alone.
//
// The picture is decoded at the smallest of the scales 1/8, 1/4, 1/2, 1 at which (before rounding)
// neither width nor height falls below side, then resampled with a triangle filter in 8-bit
// fixed point, rows first. The EXIF orientation is the caller's business.
//
// On any other result, message says what is wrong, in libjpeg's words where they are libjpeg's.
cjpeg_status cjpeg_decode_square(const cjpeg_kernels *kernels, const uint8_t *bytes,
                                 size_t byte_count, int side, const cjpeg_limits *limits,
                                 uint8_t *rgb,
                                 char message[CJPEG_MESSAGE_SIZE]);

// Encodes width x height interleaved RGB pixels as a baseline JPEG (YCbCr 4:2:0).
// width and height: 1 ... 65500; quality: 1 ... 100.
// On CJPEG_OK *bytes holds *byte_count bytes that the caller hands to cjpeg_free.
cjpeg_status cjpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **bytes,
                          size_t *byte_count, char message[CJPEG_MESSAGE_SIZE]);

void cjpeg_free(uint8_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
