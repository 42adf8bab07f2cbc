#include <stdlib.h>
#include <string.h>

#include "CJPEG.h"
#include "errors.h"

#include <jerror.h>

// libjpeg's own memory destination loses its buffer when an error leaves it, so here is one that
// keeps it in reach.
typedef struct {
    struct jpeg_compress_struct cinfo;
    struct jpeg_destination_mgr destination;
    error_handler errors;
    uint8_t *bytes;
    size_t capacity;
} encoder;

static void point_at(encoder *e, size_t used) {
    e->destination.next_output_byte = e->bytes + used;
    e->destination.free_in_buffer = e->capacity - used;
}

static void init_destination(j_compress_ptr cinfo) {
    encoder *e = (encoder *)cinfo->client_data;
    e->capacity = 64 << 10;
    e->bytes = malloc(e->capacity);
    if (!e->bytes) {
        ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 0);
    }
    point_at(e, 0);
}

// Called when the buffer is full; libjpeg wants all of it taken, whatever free_in_buffer says.
static boolean empty_output_buffer(j_compress_ptr cinfo) {
    encoder *e = (encoder *)cinfo->client_data;
    size_t used = e->capacity;
    uint8_t *larger = realloc(e->bytes, 2 * used);
    if (!larger) {
        ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 0);
    }
    e->bytes = larger;
    e->capacity = 2 * used;
    point_at(e, used);
    return TRUE;
}

static void term_destination(j_compress_ptr cinfo) {
    (void)cinfo;
}

static void encode(encoder *e, const uint8_t *rgb, int width, int height, int quality) {
    struct jpeg_compress_struct *cinfo = &e->cinfo;
    jpeg_create_compress(cinfo);
    cinfo->client_data = e;
    e->destination.init_destination = init_destination;
    e->destination.empty_output_buffer = empty_output_buffer;
    e->destination.term_destination = term_destination;
    cinfo->dest = &e->destination;

    cinfo->image_width = (JDIMENSION)width;
    cinfo->image_height = (JDIMENSION)height;
    cinfo->input_components = 3;
    cinfo->in_color_space = JCS_RGB;
    jpeg_set_defaults(cinfo);
    jpeg_set_quality(cinfo, quality, TRUE);
    jpeg_start_compress(cinfo, TRUE);
    while (cinfo->next_scanline < cinfo->image_height) {
        JSAMPROW row = (JSAMPROW)(rgb + (size_t)cinfo->next_scanline * (size_t)width * 3);
        jpeg_write_scanlines(cinfo, &row, 1);
    }
    jpeg_finish_compress(cinfo);
}

// Apart for the reason given in decode.c.
static void encode_or_escape(encoder *e, const uint8_t *rgb, int width, int height, int quality) {
    if (!setjmp(e->errors.escape)) {
        encode(e, rgb, width, height, quality);
    }
}

cjpeg_status cjpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **bytes,
                          size_t *byte_count, char message[CJPEG_MESSAGE_SIZE]) {
    message[0] = '\0';
    *bytes = NULL;
    *byte_count = 0;
    if (width < 1 || width > JPEG_MAX_DIMENSION || height < 1 || height > JPEG_MAX_DIMENSION ||
        quality < 1 || quality > 100) {
        snprintf(message, CJPEG_MESSAGE_SIZE,
                 "%d x %d pixels at quality %d; sizes are 1 ... %ld, quality is 1 ... 100", width,
                 height, quality, JPEG_MAX_DIMENSION);
        return CJPEG_BAD_ARGUMENT;
    }

    encoder e;
    memset(&e, 0, sizeof e);
    e.cinfo.err = error_handler_init(&e.errors, message);
    encode_or_escape(&e, rgb, width, height, quality);
    if (e.errors.status == CJPEG_OK) {
        *bytes = e.bytes;
        *byte_count = e.capacity - e.destination.free_in_buffer;
    } else {
        free(e.bytes);
    }
    jpeg_destroy_compress(&e.cinfo);
    return e.errors.status;
}

void cjpeg_free(uint8_t *bytes) {
    free(bytes);
}
