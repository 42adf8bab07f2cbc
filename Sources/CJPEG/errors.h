// How libjpeg's errors and warnings leave libjpeg: as a status and a text, through one longjmp.

#ifndef CJPEG_ERRORS_H
#define CJPEG_ERRORS_H

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include "CJPEG.h"

typedef struct {
    struct jpeg_error_mgr manager;  // first: libjpeg hands this struct back to us
    jmp_buf escape;
    cjpeg_status status;
    char *message;  // CJPEG_MESSAGE_SIZE bytes, the caller's
} error_handler;

// Sets up handler for cinfo->err. The caller sets handler->escape before it calls libjpeg.
struct jpeg_error_mgr *error_handler_init(error_handler *handler, char *message);

// Leaves libjpeg with this status; the message is written before.
_Noreturn void error_handler_escape(error_handler *handler, cjpeg_status status);

#endif
