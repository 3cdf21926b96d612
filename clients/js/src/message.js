/** What is published, and messages as applications get them. */

/** A message with its channel, and bytes as bytes. */
export function opened(channel, { b64, ...message }) {
  if (b64 !== undefined) message.data = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
  return { channel, ...message };
}

export function isBytes(data) {
  return data instanceof ArrayBuffer || ArrayBuffer.isView(data);
}

export function toBase64(data) {
  const { buffer = data, byteOffset, byteLength } = data;
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

/** Names a tab, or a publication so that a retry is not a repeat. (`crypto.randomUUID` needs a secure context.) */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
