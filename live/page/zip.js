/* ZIP files, stored as they are: PKWARE's APPNOTE 6.3, sections 4.3 and 4.4. */

const VERSION = 20;
const UTF8 = 0x0800;
const STORED = 0;

/** The remainders of all bytes, for the CRC-32 of IEEE 802.3. */
const REMAINDERS = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/**
 * @param files names, each with its content as a Blob
 * @returns a promise of a Blob
 */
export async function zip(files) {
  const now = stamp(new Date());
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, content] of Object.entries(files)) {
    const named = new TextEncoder().encode(name);
    const described = [
      [VERSION, 2],
      [UTF8, 2],
      [STORED, 2],
      ...now,
      [await crc32(content), 4],
      [content.size, 4],
      [content.size, 4],
      [named.length, 2],
      [0, 2], // Nothing extra.
    ];
    const header = record(0x04034b50, described);
    parts.push(header, named, content);
    // No comment, first disk, no attributes.
    const rest = [[0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]];
    directory.push(record(0x02014b50, [[VERSION, 2], ...described, ...rest]), named);
    offset += header.length + named.length + content.size;
  }
  const count = Object.keys(files).length;
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = [[0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2]];
  return new Blob([...parts, ...directory, record(0x06054b50, end)], { type: "application/zip" });
}

/** A signature and numbers of 2 or 4 bytes, little-endian. */
function record(signature, fields) {
  const bytes = [];
  for (const [value, width] of [[signature, 4], ...fields]) {
    for (let byte = 0; byte < width; byte++) bytes.push((value >>> (8 * byte)) & 0xff);
  }
  return Uint8Array.from(bytes);
}

/** Read in pieces, so that the page goes on meanwhile. */
async function crc32(blob) {
  const reader = blob.stream().getReader();
  let crc = ~0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return ~crc >>> 0;
    for (const byte of value) crc = REMAINDERS[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  }
}

/** Time and date as MS-DOS wrote them: two seconds are the unit, 1980 is the year 0. */
function stamp(date) {
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return [[time, 2], [day, 2]];
}
