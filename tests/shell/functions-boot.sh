# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the varve authors
#
# Backups that are started to prove them. Sourced by functions.sh.

# make_boot_disk FILE TEXT: a raw disk of 4 MiB that BIOS boots. Its first sector reads 4 KiB at 1 MiB, writes them back, and
# says on the serial console what is in them, up to the first zero: so a disk that cannot be read, or written, says nothing.
make_boot_disk ()
{
  python3 - "$1" "$2" << 'END'
import sys
packet = 0x7c00 + 43
code = bytes([
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0xfc,       # xor ax,ax; mov ds,ax; mov es,ax; cld
    0xbe, packet & 255, packet >> 8,                # mov si,packet
    0xb4, 0x42, 0xcd, 0x13,                         # mov ah,42h; int 13h    read
    0x72, 0x18,                                     # jc end
    0xb8, 0x00, 0x43,                               # mov ax,4300h
    0xbe, packet & 255, packet >> 8,                # mov si,packet
    0xcd, 0x13,                                     # int 13h                write
    0x72, 0x0e,                                     # jc end
    0xbe, 0x00, 0x80, 0xba, 0xf8, 0x03,             # mov si,8000h; mov dx,3f8h
    0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, # next: lodsb; test al,al; jz end; out dx,al; jmp next
    0xf4, 0xeb, 0xfd,                               # end: hlt; jmp end
    0x10, 0x00, 0x08, 0x00, 0x00, 0x80, 0x00, 0x00, # packet: 8 sectors to 0:8000h
    0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, # from sector 2048
])
with open(sys.argv[1], 'wb') as disk:
    disk.write(code.ljust(510, b'\0') + b'\x55\xaa')
    disk.seek(1 << 20)
    disk.write(sys.argv[2].encode() + b'\r\n\0')
    disk.truncate(4 << 20)
END
}

# Processes below process $1.
children_of ()
{
  ps -e -o ppid=,pid=,comm= | awk -v us="$1" '$1 == us { print $2 " " $3 }'
}

# What a proof leaves on the host: nothing but its screenshot.
assert_no_machine_left ()
{
  local left
  left=$(find "$VARVE_STATE_DIR/sockets" -mindepth 1)
  assert_equal "$left" '' "sockets that are left"
  left=$(find "$tmp/temporary" -mindepth 1)
  assert_equal "$left" '' "temporary files that are left"
  if pgrep -af "$VARVE_STATE_DIR/sockets/boot-" > "$tmp/left.log"; then
    fail "processes are left: $(cat "$tmp/left.log")"
  fi
}

store_digest ()
{
  find "$store" -type f -exec sha256sum {} + | sort -k 2 | sha256sum
}

# assert_picture FILE
assert_picture ()
{
  case $(head -c 4 "$1" | od -An -c | tr -d ' \n') in
  '211PNG' | P6*) ;;
  *) fail "'$1' is no picture" ;;
  esac
}
