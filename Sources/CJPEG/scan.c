#include "scan.h"

// Goes on to read the file up to the next marker or as far as there is room.
static void read_on(scan *s) {
    huffman_reader *r = &s->reader;
    size_t kept = (size_t)(r->end - r->next);
    memmove(s->bytes, r->next, kept);
    size_t size = kept + s->kernels->unstuff(&s->next, s->end, s->bytes + kept, SCAN_ROOM - kept);
    s->is_cut = size >= SCAN_ROOM;
    memset(s->bytes + size, 0, HUFFMAN_PADDING);
    r->next = s->bytes;
    r->end = s->bytes + size;
}

static void begin_reading(scan *s) {
    s->reader.next = s->reader.end = s->bytes;
    s->reader.bits = 0;
    s->reader.count = 0;
    read_on(s);
}

int scan_init(scan *s, j_decompress_ptr cinfo, const cjpeg_kernels *kernels) {
    if (!kernels->decode_blocks || cinfo->progressive_mode || jpeg_has_multiple_scans(cinfo)) {
        return 0;
    }
    s->kernels = kernels;
    unsigned dc_ready = 0, ac_ready = 0;
    for (int i = 0; i < cinfo->comps_in_scan; i++) {
        int dc = cinfo->cur_comp_info[i]->dc_tbl_no;
        int ac = cinfo->cur_comp_info[i]->ac_tbl_no;
        if (dc >= SCAN_TABLES || ac >= SCAN_TABLES) {
            return 0;
        }
        if ((!(dc_ready >> dc & 1) &&
             !huffman_table_init(&s->dc_tables[dc], cinfo->dc_huff_tbl_ptrs[dc], 1)) ||
            (!(ac_ready >> ac & 1) &&
             !huffman_table_init(&s->ac_tables[ac], cinfo->ac_huff_tbl_ptrs[ac], 0))) {
            return 0;
        }
        dc_ready |= 1u << dc;
        ac_ready |= 1u << ac;
    }
    for (int i = 0; i < cinfo->blocks_in_MCU; i++) {
        int index = cinfo->MCU_membership[i];
        const jpeg_component_info *component = cinfo->cur_comp_info[index];
        s->blocks[i].dc = &s->dc_tables[component->dc_tbl_no];
        s->blocks[i].ac = &s->ac_tables[component->ac_tbl_no];
        s->blocks[i].last_dc = &s->last_dc[index];
    }
    s->next = cinfo->src->next_input_byte;
    s->end = s->next + cinfo->src->bytes_in_buffer;
    s->units_to_restart = cinfo->restart_interval;
    s->units_left = (uint64_t)cinfo->MCUs_per_row * cinfo->MCU_rows_in_scan;
    begin_reading(s);
    return 1;
}

// Takes the next restart marker, which has to be there right after the last bits.
static int restart(scan *s, unsigned interval) {
    if (huffman_bits_left(&s->reader) >= 8 || s->end - s->next < 2 || s->next[0] != 0xFF ||
        s->next[1] != 0xD0 + s->next_restart) {
        return 0;
    }
    s->next += 2;
    memset(s->last_dc, 0, sizeof s->last_dc);
    s->units_to_restart = interval;
    s->next_restart = (s->next_restart + 1) % 8;
    begin_reading(s);
    return 1;
}

int scan_decode_mcu(scan *s, j_decompress_ptr cinfo, JBLOCKROW *blocks) {
    if (cinfo->restart_interval) {
        if (s->units_to_restart == 0 && !restart(s, cinfo->restart_interval)) {
            return 0;
        }
        s->units_to_restart--;
    }
    if (s->is_cut && s->reader.end - s->reader.next < D_MAX_BLOCKS_IN_MCU * HUFFMAN_BLOCK_BYTES) {
        read_on(s);
    }
    for (int i = 0; i < cinfo->blocks_in_MCU; i++) {
        s->blocks[i].coefficients = *blocks[i];
    }
    if (!s->kernels->decode_blocks(&s->reader, s->blocks, cinfo->blocks_in_MCU)) {
        return 0;
    }
    if (--s->units_left == 0) {
        // libjpeg looks for the next marker from here on.
        cinfo->src->next_input_byte = s->next;
        cinfo->src->bytes_in_buffer = (size_t)(s->end - s->next);
    }
    return 1;
}
