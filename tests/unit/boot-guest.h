/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright the varve authors */

/* A guest that writes all the time, through its own devices: only such a one stands still when QEMU is told
 * to stop. */
#pragma once

#include "machine.h"

/* A boot sector: write number i puts i into a sector of block i / 16 % 256 of vda, and then of vdb.
 * So a disk that is one instant equals the state after some write k, and vdb is at k or one write
 * behind.
 *
 *         xor  ax,ax ; mov ds,ax ; mov ss,ax ; mov sp,0x7c00 ; mov dword [0x8000],0
 *   next: inc  dword [0x8000] ; mov eax,[0x8000]
 *         shr  eax,4 ; and eax,255 ; shl eax,7 ; mov [dap+8],eax
 *         mov  si,dap ; mov ax,0x4300 ; mov dl,0x81 ; int 0x13
 *         mov  si,dap ; mov ax,0x4300 ; mov dl,0x82 ; int 0x13
 *         jmp  next
 *   dap:  16, 0, 1 sector, 0x8000, 0, LBA (8 bytes)
 */
static const unsigned char boot_sector[] = {
  0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0x66, 0xc7, 0x06, 0x00, 0x80,
  0x00, 0x00, 0x00, 0x00, 0x66, 0xff, 0x06, 0x00, 0x80, 0x66, 0xa1, 0x00, 0x80, 0x66,
  0xc1, 0xe8, 0x04, 0x66, 0x25, 0xff, 0x00, 0x00, 0x00, 0x66, 0xc1, 0xe0, 0x07, 0x66,
  0xa3, 0x4b, 0x7c, 0xbe, 0x43, 0x7c, 0xb8, 0x00, 0x43, 0xb2, 0x81, 0xcd, 0x13, 0xbe,
  0x43, 0x7c, 0xb8, 0x00, 0x43, 0xb2, 0x82, 0xcd, 0x13, 0xeb, 0xcf, 0x10, 0x00, 0x01,
  0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

#define WRITES_PER_BLOCK 16u
#define BOOT_DISK                                                                                  \
  "-drive if=none,id=boot,format=raw,file=boot.img,read-only=on "                                  \
  "-device virtio-blk-pci,drive=boot,bootindex=0"

static inline void
make_boot_disk (const Machine *machine)
{
  g_autofree char *path = path_in (machine, "boot.img");
  char image[512] = { 0 };
  g_autoptr (GError) error = NULL;

  memcpy (image, boot_sector, sizeof boot_sector);
  image[510] = 0x55;
  image[511] = (char)0xaa;
  g_file_set_contents (path, image, sizeof image, &error);
  g_assert_no_error (error);
  /* A disk of less than a cylinder has no sector that the BIOS could read. */
  g_assert_cmpint (truncate (path, 4 << 20), ==, 0);
}

/* The number of the write that the guest is at, from its memory. */
static inline guint
guest_progress (const Machine *machine)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) reply =
      varve_qmp_execute (machine->qmp, "human-monitor-command",
                         varve_qmp_args ("{'command-line':'xp/1dw 0x8000'}"), NULL, &error);

  g_assert_no_error (error);
  const char *colon = strchr (json_node_get_string (reply), ':');
  g_assert_nonnull (colon);
  return (guint)g_ascii_strtoull (colon + 1, NULL, 10);
}

static inline void
wait_for_writes (const Machine *machine, guint more)
{
  guint until = guest_progress (machine) + more;

  wait_until (guest_progress (machine) >= until);
}
