//! As much of DER as tells which kind of public key a file has (RFC 5280 §4.1: `SubjectPublicKeyInfo`;
//! RFC 8017 §A.1.1: `RSAPublicKey`).

use super::key::Algorithm;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// `rsaEncryption` with its NULL (RFC 3279 §2.3.1).
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `id-ecPublicKey` with `prime256v1` (RFC 5480 §2.1.1).
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];
/// `id-Ed25519` (RFC 8410 §3).
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// The kind of the key, and the key as `ring` takes it; `None` for any other kind, and for RSA keys
/// of fewer than 2048 or more than 8192 bits.
pub(super) fn public_key(der: &[u8]) -> Option<(Algorithm, &[u8])> {
    let (info, rest) = element(SEQUENCE, der)?;
    let (kind, info) = element(SEQUENCE, info)?;
    let (bits, info_rest) = element(BIT_STRING, info)?;
    // The first byte of a BIT STRING counts the bits that its last byte leaves unused.
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    if !rest.is_empty() || !info_rest.is_empty() {
        return None;
    }
    let algorithm = match kind {
        RSA if (2048..=8192).contains(&modulus_bits(key)?) => Algorithm::Rs256,
        P256 if key.len() == 65 && key[0] == 0x04 => Algorithm::Es256,
        ED25519 if key.len() == 32 => Algorithm::EdDsa,
        _ => return None,
    };
    Some((algorithm, key))
}

/// How many bits the modulus of an RSA key has.
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let (numbers, _) = element(SEQUENCE, key)?;
    let (modulus, _) = element(INTEGER, numbers)?;
    // A zero before the highest bit keeps the number positive.
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

/// The content of the element with this tag at the beginning of the bytes, and the bytes after it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 | 0x82 => {
            let (long, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
            (long.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}
