#include <stdlib.h>
#include <string.h>

#include "CJPEG.h"
#include "errors.h"
#include "resample.h"
#include "scan.h"

typedef struct {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_progress_mgr progress;
    error_handler errors;
    const cjpeg_limits *limits;
    int scans_seen;
    uint64_t coefficient_visits;
    scan scan;
    int leaves_scan_to_libjpeg;
    resampler resampler;
} decoder;

_Noreturn static void give_up(decoder *d, cjpeg_status status) {
    error_handler_escape(&d->errors, status);
}

#define GIVE_UP(d, status, ...)                                              \
    do {                                                                     \
        snprintf((d)->errors.message, CJPEG_MESSAGE_SIZE, __VA_ARGS__);      \
        give_up((d), (status));                                              \
    } while (0)

// libjpeg reads all scans of a picture in several scans before it gives out the first row; this
// is called before each row of blocks of each scan.
static void watch_scans(j_common_ptr cinfo) {
    decoder *d = (decoder *)cinfo->client_data;
    struct jpeg_decompress_struct *picture = &d->cinfo;
    if (picture->input_scan_number == d->scans_seen) {
        return;
    }
    d->scans_seen = picture->input_scan_number;
    if (d->scans_seen > d->limits->maximum_scans) {
        GIVE_UP(d, CJPEG_TOO_MANY_SCANS, "it has more than %d scans", d->limits->maximum_scans);
    }
    if (!jpeg_has_multiple_scans(picture)) {
        return;
    }
    uint64_t blocks = (uint64_t)picture->MCUs_per_row * picture->MCU_rows_in_scan *
                      (uint64_t)picture->blocks_in_MCU;
    int band = picture->progressive_mode ? picture->Se - picture->Ss + 1 : DCTSIZE2;
    d->coefficient_visits += blocks * (uint64_t)band;
    if (d->coefficient_visits > d->limits->maximum_coefficient_visits) {
        GIVE_UP(d, CJPEG_TOO_MANY_SCANS,
                "its first %d scans visit more than %llu million coefficients", d->scans_seen,
                (unsigned long long)(d->limits->maximum_coefficient_visits / 1000000));
    }
}

// In libjpeg's place: a unit of 1 ... 10 blocks.
static boolean decode_mcu(j_decompress_ptr cinfo, JBLOCKROW *blocks) {
    decoder *d = (decoder *)cinfo->client_data;
    if (!scan_decode_mcu(&d->scan, cinfo, blocks)) {
        d->leaves_scan_to_libjpeg = 1;
        GIVE_UP(d, CJPEG_CORRUPT, "its data is not in order");
    }
    return TRUE;
}

static int scale_denominator(const struct jpeg_decompress_struct *cinfo, int side) {
    int denominator = 8;
    while (denominator > 1 && (cinfo->image_width < (JDIMENSION)(side * denominator) ||
                               cinfo->image_height < (JDIMENSION)(side * denominator))) {
        denominator /= 2;
    }
    return denominator;
}

// What libjpeg will hold at once. With several scans that is every coefficient of the picture,
// at full size however small the output; else some rows. The rest (tables, structs) is under
// 1 MiB.
static uint64_t libjpeg_memory_bytes(struct jpeg_decompress_struct *cinfo) {
    uint64_t coefficients = 0;
    if (jpeg_has_multiple_scans(cinfo)) {
        for (int i = 0; i < cinfo->num_components; i++) {
            const jpeg_component_info *component = &cinfo->comp_info[i];
            uint64_t h = (uint64_t)component->h_samp_factor;
            uint64_t v = (uint64_t)component->v_samp_factor;
            uint64_t across = (component->width_in_blocks + h - 1) / h * h;
            uint64_t down = (component->height_in_blocks + v - 1) / v * v;
            coefficients += across * down * sizeof(JBLOCK);
        }
    }
    // Rows of samples: per component, before and after upsampling, up to 4 x 8 + 2 rows at a time.
    uint64_t rows = (uint64_t)cinfo->image_width * (uint64_t)cinfo->num_components * 2 * 34;
    return coefficients + rows + (1 << 20);
}

static void check_header(decoder *d, int side) {
    struct jpeg_decompress_struct *cinfo = &d->cinfo;
    uint64_t pixels = (uint64_t)cinfo->image_width * cinfo->image_height;
    if (pixels > d->limits->maximum_pixels) {
        GIVE_UP(d, CJPEG_TOO_LARGE, "it declares %u x %u pixels; the limit is %llu in all",
                cinfo->image_width, cinfo->image_height,
                (unsigned long long)d->limits->maximum_pixels);
    }
    if (cinfo->arith_code) {
        // Also: an arithmetic decoder reads zeros past the end of its data, by the standard, so
        // that a damaged file cannot be told from a whole one.
        GIVE_UP(d, CJPEG_UNSUPPORTED, "it is arithmetic-coded");
    }
    if (cinfo->num_components != 1 && cinfo->num_components != 3 && cinfo->num_components != 4) {
        GIVE_UP(d, CJPEG_UNSUPPORTED, "it has %d colour components", cinfo->num_components);
    }
    uint64_t memory = libjpeg_memory_bytes(cinfo) +
                      resampler_memory_bytes((int)cinfo->output_width, (int)cinfo->output_height,
                                             side);
    if (memory > d->limits->maximum_memory_bytes) {
        GIVE_UP(d, CJPEG_TOO_LARGE,
                "decoding its %u x %u pixels would take %llu MiB of memory; the limit is %llu MiB",
                cinfo->image_width, cinfo->image_height, (unsigned long long)(memory >> 20),
                (unsigned long long)(d->limits->maximum_memory_bytes >> 20));
    }
}

// Inks to light, in place. Four-component JPEGs are taken as Adobe writes them, inverted
// (255 = no ink), whether or not the Adobe marker is there.
static void rgbx_from_inverted_cmyk(uint8_t *row, size_t width) {
    for (size_t x = 0; x < width; x++, row += 4) {
        unsigned light = row[3];
        for (int i = 0; i < 3; i++) {
            unsigned ink = 255 - row[i];
            unsigned product = ink * light + 128;  // rounded division by 255, next line
            row[i] = (uint8_t)(light - ((product + (product >> 8)) >> 8));
        }
    }
}

static void decode(decoder *d, const cjpeg_kernels *kernels, const uint8_t *bytes,
                   size_t byte_count, int side, uint8_t *rgb) {
    struct jpeg_decompress_struct *cinfo = &d->cinfo;
    jpeg_create_decompress(cinfo);
    cinfo->client_data = d;
    cinfo->progress = &d->progress;
    d->progress.progress_monitor = watch_scans;

    jpeg_mem_src(cinfo, bytes, (unsigned long)byte_count);
    jpeg_read_header(cinfo, TRUE);

    cinfo->scale_num = 1;
    cinfo->scale_denom = (unsigned)scale_denominator(cinfo, side);
    cinfo->dct_method = JDCT_ISLOW;
    cinfo->do_fancy_upsampling = TRUE;
    boolean has_inks = cinfo->num_components == 4;
    cinfo->out_color_space = has_inks ? JCS_CMYK : JCS_EXT_RGBX;
    jpeg_calc_output_dimensions(cinfo);
    check_header(d, side);

    if (!resampler_init(&d->resampler, kernels, (int)cinfo->output_width,
                        (int)cinfo->output_height, side)) {
        GIVE_UP(d, CJPEG_OUT_OF_MEMORY, "not enough memory");
    }

    jpeg_start_decompress(cinfo);
    if (!d->leaves_scan_to_libjpeg && scan_init(&d->scan, cinfo, kernels)) {
        cinfo->entropy->decode_mcu = decode_mcu;
    }
    while (cinfo->output_scanline < cinfo->output_height) {
        int count;
        uint8_t **rows = resampler_free_rows(&d->resampler, &count);
        count = (int)jpeg_read_scanlines(cinfo, rows, (JDIMENSION)count);
        if (has_inks) {
            for (int i = 0; i < count; i++) {
                rgbx_from_inverted_cmyk(rows[i], cinfo->output_width);
            }
        }
        resampler_push(&d->resampler, count, rgb);
    }
    // Reads on to the end marker: what follows the last row is judged as well.
    jpeg_finish_decompress(cinfo);
}

// Apart, so that the decoder is not a local of the function that calls setjmp: such locals would be
// indeterminate after the longjmp.
static void decode_or_escape(decoder *d, const cjpeg_kernels *kernels, const uint8_t *bytes,
                             size_t byte_count, int side, uint8_t *rgb) {
    if (!setjmp(d->errors.escape)) {
        decode(d, kernels, bytes, byte_count, side, rgb);
    }
}

// One try. *leaves_scan_to_libjpeg is set where our own decoding of the scan ended it.
static cjpeg_status try_to_decode(const cjpeg_kernels *kernels, const uint8_t *bytes,
                                  size_t byte_count, int side, const cjpeg_limits *limits,
                                  uint8_t *rgb, char message[CJPEG_MESSAGE_SIZE],
                                  int *leaves_scan_to_libjpeg) {
    decoder d;
    memset(&d, 0, sizeof d);
    d.limits = limits;
    d.leaves_scan_to_libjpeg = *leaves_scan_to_libjpeg;
    d.cinfo.err = error_handler_init(&d.errors, message);
    decode_or_escape(&d, kernels, bytes, byte_count, side, rgb);
    jpeg_destroy_decompress(&d.cinfo);
    resampler_free(&d.resampler);
    *leaves_scan_to_libjpeg = d.leaves_scan_to_libjpeg;
    return d.errors.status;
}

cjpeg_status cjpeg_decode_square(const cjpeg_kernels *kernels, const uint8_t *bytes,
                                 size_t byte_count, int side, const cjpeg_limits *limits,
                                 uint8_t *rgb,
                                 char message[CJPEG_MESSAGE_SIZE]) {
    message[0] = '\0';
    if (side < 1 || side > CJPEG_MAXIMUM_SIDE) {
        snprintf(message, CJPEG_MESSAGE_SIZE, "side is %d, not 1 ... %d", side,
                 CJPEG_MAXIMUM_SIDE);
        return CJPEG_BAD_ARGUMENT;
    }
    if (byte_count == 0) {
        snprintf(message, CJPEG_MESSAGE_SIZE, "it is empty");
        return CJPEG_NOT_JPEG;
    }
    if (byte_count > limits->maximum_bytes) {
        snprintf(message, CJPEG_MESSAGE_SIZE, "it has %zu bytes; the limit is %zu", byte_count,
                 limits->maximum_bytes);
        return CJPEG_TOO_LARGE;
    }

    int leaves_scan_to_libjpeg = 0;
    cjpeg_status status = try_to_decode(kernels, bytes, byte_count, side, limits, rgb, message,
                                        &leaves_scan_to_libjpeg);
    if (status != CJPEG_OK && leaves_scan_to_libjpeg) {
        status = try_to_decode(kernels, bytes, byte_count, side, limits, rgb, message,
                               &leaves_scan_to_libjpeg);
    }
    return status;
}
