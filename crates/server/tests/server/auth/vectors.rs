//! Keys and tokens from elsewhere: the examples of the RFCs, and output of OpenSSL and Node.js.

/// The payload of all of them, RFC 7515 §A.1: `joe`'s, until [`EXP`].
pub(super) const EXP: u64 = 1_300_819_380;

/// RFC 7515 §A.1, the key as base64url.
pub(super) const HS256_KEY: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
pub(super) const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 7515 §A.3.
pub(super) const ES256_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----
";
pub(super) const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.\
eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// `openssl genrsa`, signed by Node.js.
pub(super) const RS256_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqRbrIis8KilP10sL7Zqj
SQCB6SAGf75AKUV4RQ+uwXDDr3Cw9AFufWCZUwimprWFt4WxgztOgvKFxnC05ufX
ZaTDwsuN9myU5hHiiGDyR7yXIt2l0yHyXj1zaejO7xEPn/vmwP7kPSGgBm3mFqR4
HRJx1KycjwAbPTH6QprHzkL1mS2A9Iz9jco9XA/I1qhXgZudYQB1MSFkYcSWe7U4
fwX1tfLiRGq4XZwPPPT1uaSF3VzsDJvTbe/4X/Wn57EBiuotJwNp7R8ZWkrSFSUI
mH2CeRJdziUCM2aInp6X/cXE2XeOUDJwDOtNwquYOxBhFjZex5CBv55U3WPCaYcG
yQIDAQAB
-----END PUBLIC KEY-----
";
pub(super) const RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.R2DDQiecJDuBcTQDSyH8ZURhLW05peKJ8Q2idiu_CGFNgusfUw9_aV5JgwS-sWFlmrWZ1nJPSImeY2lJYFMApS99_g8CrWebTmVjSdYNo7UGvWG71jNUZvzOgf07q6b09Q3RuM8o6BnP7CygNWF5DQeDNhJL1rMI7tXCF5DHR2SikxE2VvB5pkQHxx66XWm_IewNAkcIJKS8jHVrWzSZLA-FLoqruFdAQeFzt3zLhjptXxWfK5zHEQsmTM-5SRR4tNUIPd0rOK_tvTkSSpV8nwPAgzWQ2LoGiFTP7xJA7Y-UIfq71NX47gLtJk_PUZp_OFT4Y12Tls9QQHkx6EZSGg";

/// The same key in another form, PKCS #1.
pub(super) const RSA_PKCS1: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAqRbrIis8KilP10sL7ZqjSQCB6SAGf75AKUV4RQ+uwXDDr3Cw9AFu
fWCZUwimprWFt4WxgztOgvKFxnC05ufXZaTDwsuN9myU5hHiiGDyR7yXIt2l0yHy
Xj1zaejO7xEPn/vmwP7kPSGgBm3mFqR4HRJx1KycjwAbPTH6QprHzkL1mS2A9Iz9
jco9XA/I1qhXgZudYQB1MSFkYcSWe7U4fwX1tfLiRGq4XZwPPPT1uaSF3VzsDJvT
be/4X/Wn57EBiuotJwNp7R8ZWkrSFSUImH2CeRJdziUCM2aInp6X/cXE2XeOUDJw
DOtNwquYOxBhFjZex5CBv55U3WPCaYcGyQIDAQAB
-----END RSA PUBLIC KEY-----
";

/// `openssl genpkey -algorithm ed25519`, signed by Node.js.
pub(super) const EDDSA_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAd5Y8qwcncGWxrRrVTkodx3wvMh99BkESxeQvi+AL6mI=
-----END PUBLIC KEY-----
";
pub(super) const EDDSA: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.9LIKTls7Cnv2MnBNS0HBVDSN6IYj_9IuKWvKCb3kIkPVpf0FqV4ubP3_ilBmN0Sd5pClft69yGdWR_04b7VcAA";

/// RSA of 1024 bits, P-384, X25519: keys that sign nothing here.
pub(super) const OTHER_KEYS: [&str; 3] = [
    "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDAB7cuKoP3VPAt91t+COj+q4vX
251oRXOtkdl8kRLpDl/D1QE+N8Ng8rhu32W0m6bSx84xxdY7ju20yU3d71MGY5l4
XC4QA6IqxWk9D3vxzCHle7mB+pMJhSgofiDBLO639CEdpBKXETh4NgYnNyRn6TWM
qmGsi9QmtPms3/V/awIDAQAB
-----END PUBLIC KEY-----
",
    "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE4q0j5kiIVTSPnoe9rQ7MUkjUFGSBY6Os
00BwPKqRQHgYn/guLj9SNx7gEMRKl4XN0BmBGxDCgi4QdrFOjrNtJcaDV//QyH6f
ChcLLAAEB6LG4AN5byWEwxkWi3flL9+A
-----END PUBLIC KEY-----
",
    "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEApzbzK4WfT+HNUzdSRCDQJlBmfAujhQ8lteK2y/onQWs=
-----END PUBLIC KEY-----
",
];
