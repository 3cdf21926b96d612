//! `sockeye token`: makes access tokens, and looks into them.

use std::{
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use serde_json::{Value, json};
use sockeye_server::{
    Audience, AuthKey, Claims, KeyError, NumericDate, Pattern, Right, Rights, SigningKey,
};

use crate::{
    errors::usage::WrongUsage,
    flags::units::{roughly, time},
    terminal::output::{complain, print_line},
};

/// Make an access token, or look into one
///
/// A token names its bearer, the channels that it may use and how, and until when. `sockeye serve
/// --auth-key` asks for one. The key is a secret that both share (32 bytes or more), or a private
/// key in PEM (RSA, P-256, Ed25519), whose public half the server has. Any JSON Web Token library makes
/// such tokens, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openssl rand -hex 32 > secret
  sockeye serve --auth-key secret
  sockeye token --key secret --sub ann --channel 'chat:*=read,write' --expires 1h > ann
  sockeye token - < ann
  sockeye token --key secret - < ann
  curl -s -H \"Authorization: Bearer $(sockeye token --key secret --channel chat=read)\" \\
    http://127.0.0.1:8080/c/chat

Exit status: 0 if the token is good, or was made; 1 if it is not, 2 on wrong usage.")]
pub(crate) struct Token {
    /// Look into this token instead of making one; - reads it from the input
    #[arg(value_name = "TOKEN", conflicts_with_all = ["sub", "channel", "expires"])]
    token: Option<String>,

    /// The secret or the private key (PEM) to sign with; a public key is enough to look
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The bearer's name, as presence shows it
    #[arg(long, value_name = "NAME")]
    sub: Option<String>,

    /// What the bearer may do: a channel, or the beginning of channels and `*`, `=`, and some of
    /// read, write, presence; may be given several times
    #[arg(long, value_name = "PATTERN=RIGHTS", value_parser = grant)]
    channel: Vec<(Pattern, Rights)>,

    /// How long the token is good
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    expires: Duration,

    /// The server that it is for: what that was given as --auth-audience
    #[arg(long, value_name = "NAME")]
    aud: Option<String>,

    /// The issuer: what the server was given as --auth-issuer
    #[arg(long, value_name = "NAME")]
    iss: Option<String>,

    /// Which key of the issuer it is signed with: its name in the set that the server was given as --jwks
    #[arg(long, value_name = "ID", conflicts_with = "token")]
    kid: Option<String>,

    /// What the token is called, to be revoked by
    #[arg(long, value_name = "ID", conflicts_with = "token")]
    jti: Option<String>,
}

impl Token {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match &self.token {
            Some(token) if token == "-" => {
                let mut token = String::new();
                io::stdin().read_to_string(&mut token)?;
                ensure!(!token.trim().is_empty(), "there is no token in the input: it is empty");
                self.inspect(token.trim())
            }
            Some(token) => self.inspect(token),
            None => self.mint(),
        }
    }

    /// Prints a token that a server with this key takes.
    fn mint(self) -> anyhow::Result<()> {
        let Some(file) = &self.key else {
            let what = "give --key FILE to make a token, or a TOKEN to look into (- reads it from the input)";
            return Err(WrongUsage::new("token", what).into());
        };
        let key =
            SigningKey::from_file(file).with_context(|| format!("--key {}", file.display()))?;
        let key = self.kid.into_iter().fold(key, SigningKey::named);
        let now = NumericDate::now();
        // Whole seconds, of which the one that has begun is not taken away.
        let ends = Duration::from_secs((now.0 + self.expires).as_secs_f64().ceil() as u64);
        let has_rights = !self.channel.is_empty();
        let mut claims = Claims::default();
        claims.sub = self.sub;
        claims.iat = Some(now);
        claims.exp = Some(NumericDate(ends));
        (claims.iss, claims.jti) = (self.iss.clone(), self.jti);
        claims.aud = Audience(self.aud.clone().into_iter().collect());
        claims.channels = self.channel.into_iter().collect();
        let token = key.sign(&claims)?;
        with(key.auth_key(), self.aud, self.iss).verify(&token, now)?;
        if !has_rights {
            complain("warning: this token lets its bearer do nothing: give --channel");
        }
        Ok(print_line(&token)?)
    }

    /// Prints what the token says, and tells on stderr whether that counts.
    fn inspect(&self, token: &str) -> anyhow::Result<()> {
        let (header, claims) = parts(token).context("that is not a JSON Web Token")?;
        let json = json!({ "header": header, "claims": claims });
        print_line(&serde_json::to_string_pretty(&json)?)?;
        let now = NumericDate::now();
        let claims = match &self.key {
            Some(file) => {
                let key =
                    checking_key(file).with_context(|| format!("--key {}", file.display()))?;
                let checked = with(key, self.aud.clone(), self.iss.clone()).verify(token, now);
                // The words are a server's, and here is none.
                let this_key = format!("the key in {}", file.display());
                checked.map_err(|wrong| {
                    anyhow!(wrong.to_string().replace("this server's key", &this_key))
                })?
            }
            None => serde_json::from_value(claims).context("the claims cannot be used")?,
        };
        let Some(NumericDate(ends)) = claims.exp else { bail!("the token has no `exp`") };
        let Some(left) = ends.checked_sub(now.0).filter(|left| !left.is_zero()) else {
            bail!("the token expired {} ago", roughly(now.0.saturating_sub(ends).as_secs()))
        };
        let signature = match self.key {
            Some(_) => "signed with this key",
            None => "signature not checked (give --key)",
        };
        complain(format_args!("expires in {}; {signature}", roughly(left.as_secs())));
        Ok(())
    }
}

/// What checks tokens: a public key, or the one half of what signs them.
fn checking_key(file: &PathBuf) -> Result<AuthKey, KeyError> {
    match AuthKey::from_file(file) {
        Err(KeyError::Private) => SigningKey::from_file(file).map(|key| key.auth_key()),
        key => key,
    }
}

/// The key for tokens of this audience and this issuer.
fn with(key: AuthKey, audience: Option<String>, issuer: Option<String>) -> AuthKey {
    let key = audience.into_iter().fold(key, AuthKey::for_audience);
    issuer.into_iter().fold(key, AuthKey::from_issuer)
}

/// The header and the claims, as they stand there.
fn parts(token: &str) -> Option<(Value, Value)> {
    let [header, claims, _] = token.split('.').collect::<Vec<_>>()[..] else { return None };
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    Some((json(header)?, json(claims)?))
}

/// How long a token is good.
fn lifetime(text: &str) -> Result<Duration, &'static str> {
    match time(text)? {
        Duration::ZERO => Err("such a token is never good: write a time above zero"),
        time => Ok(time),
    }
}

/// `PATTERN=RIGHTS`.
fn grant(text: &str) -> Result<(Pattern, Rights), String> {
    let how = || "write it as chat=read or 'chat:*=read,write,presence'".to_owned();
    let (pattern, rights) = text.rsplit_once('=').ok_or_else(how)?;
    let pattern = pattern.parse().map_err(|wrong| format!("{wrong}"))?;
    let rights: Result<Rights, _> = rights.split(',').map(str::parse::<Right>).collect();
    Ok((pattern, rights.map_err(|wrong| wrong.to_string())?))
}
