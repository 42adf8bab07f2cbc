#include "errors.h"

#include <jerror.h>

_Noreturn void error_handler_escape(error_handler *handler, cjpeg_status status) {
    handler->status = status;
    longjmp(handler->escape, 1);
}

static cjpeg_status status_of_error(int code) {
    switch (code) {
        case JERR_NO_SOI:
            return CJPEG_NOT_JPEG;
        case JERR_IMAGE_TOO_BIG:
        case JERR_WIDTH_OVERFLOW:
            return CJPEG_TOO_LARGE;
        case JERR_OUT_OF_MEMORY:
            return CJPEG_OUT_OF_MEMORY;
        case JERR_ARITH_NOTIMPL:
        case JERR_BAD_PRECISION:
        case JERR_CCIR601_NOTIMPL:
        case JERR_CONVERSION_NOTIMPL:
        case JERR_COMPONENT_COUNT:
        case JERR_EMPTY_IMAGE:  // a height of 0: it would come later, in a DNL marker
        case JERR_FRACT_SAMPLE_NOTIMPL:
        case JERR_SOF_UNSUPPORTED:
            return CJPEG_UNSUPPORTED;
        default:
            return CJPEG_CORRUPT;
    }
}

static void error_exit(j_common_ptr cinfo) {
    error_handler *handler = (error_handler *)cinfo->err;
    _Static_assert(CJPEG_MESSAGE_SIZE >= JMSG_LENGTH_MAX, "libjpeg's longest message fits");
    handler->manager.format_message(cinfo, handler->message);
    error_handler_escape(handler, status_of_error(handler->manager.msg_code));
}

// Warnings after which every pixel is still what the file says. All others mean that libjpeg
// goes on with pixels of its own making (grey, zeros, a guess): those end the decoding, so that
// no invented picture is ever scored. A warning that a later libjpeg adds counts as one of those.
static boolean is_harmless(int code) {
    switch (code) {
        case JWRN_ADOBE_XFORM:      // unknown Adobe colour transform code: taken as YCbCr / YCCK
        case JWRN_EXTRANEOUS_DATA:  // bytes between a segment's end and the next marker
        case JWRN_JFIF_MAJOR:       // JFIF of an unknown version
        case JWRN_NOT_SEQUENTIAL:   // progressive parameters in a sequential scan: without effect
            return TRUE;
        default:
            return FALSE;
    }
}

static void emit_message(j_common_ptr cinfo, int level) {
    error_handler *handler = (error_handler *)cinfo->err;
    boolean is_warning = level < 0;
    if (!is_warning || is_harmless(handler->manager.msg_code)) {
        return;
    }
    handler->manager.format_message(cinfo, handler->message);
    error_handler_escape(handler, CJPEG_CORRUPT);
}

static void output_message(j_common_ptr cinfo) {
    (void)cinfo;  // libjpeg's own would write to stderr
}

struct jpeg_error_mgr *error_handler_init(error_handler *handler, char *message) {
    jpeg_std_error(&handler->manager);
    handler->manager.error_exit = error_exit;
    handler->manager.emit_message = emit_message;
    handler->manager.output_message = output_message;
    handler->status = CJPEG_OK;
    handler->message = message;
    message[0] = '\0';
    return &handler->manager;
}
