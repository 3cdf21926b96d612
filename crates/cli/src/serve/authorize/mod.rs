//! `--authorize-url`: an application decides what clients may do, in the place of tokens.
//!
//! It is asked by POST: whose credentials these are, and then whether that caller has a right on a channel. Each
//! answer is used again as long as it says.
//!
//! - [`question`]: what it is asked, and the credentials of a request.
//! - [`application`]: the connections to it; [`answer`]: what it says; [`kept`]: answers that are still good.
//! - [`turns`]: how many questions there are at once.

mod answer;
mod application;
mod kept;
mod question;
mod turns;

use std::path::PathBuf;

use clap::Args;
use http::request::Parts;
use sockeye::Address;
use sockeye_server::{
    AnyAuthorizer, AuthorizeError, Authorizer, ChannelName, Decision, Identified, Right,
};

use self::{
    answer::Answer,
    application::Application,
    kept::{Kept, key},
    question::{Caller, Question},
    turns::Turns,
};
use super::webhook;

#[derive(Clone, Debug, Args)]
pub(super) struct AuthorizeFlags {
    /// Ask this application what each client may do, in the place of tokens: a POST of JSON for whose
    /// credentials they are, and for each right on a channel; answers count as long as they say
    #[arg(long, value_name = "URL", env = "SOCKEYE_AUTHORIZE_URL", value_parser = webhook::url)]
    authorize_url: Option<Address>,

    /// Sign what the application is asked with this secret of 24 bytes or more, as Standard Webhooks says
    #[arg(long, value_name = "FILE", env = "SOCKEYE_AUTHORIZE_SECRET", requires = "authorize_url")]
    authorize_secret: Option<PathBuf>,

    /// Check the certificate of the application with these authorities (PEM) in the place of the system's
    #[arg(long, value_name = "FILE", env = "SOCKEYE_AUTHORIZE_CACERT", requires = "authorize_url")]
    authorize_cacert: Option<PathBuf>,
}

impl AuthorizeFlags {
    /// Whether an application decides.
    pub(super) fn is_given(&self) -> bool {
        self.authorize_url.is_some()
    }

    /// Where the application is, for people to read.
    pub(super) fn name(&self) -> Option<String> {
        self.authorize_url.as_ref().map(webhook::name)
    }

    /// What asks the application, if there is one.
    pub(super) fn authorizer(&self) -> anyhow::Result<Option<AnyAuthorizer>> {
        let Some(url) = &self.authorize_url else { return Ok(None) };
        let secret = webhook::secret("--authorize-secret", self.authorize_secret.as_deref())?;
        let tls = webhook::tls("--authorize-cacert", self.authorize_cacert.as_deref())?;
        let application = Application::new(url, tls, secret)?;
        Ok(Some(AnyAuthorizer::bounding_itself(Webhook {
            application,
            kept: Kept::default(),
            turns: Turns::new(),
        })))
    }
}

/// Asks an application.
struct Webhook {
    application: Application,
    kept: Kept,
    /// For questions whose answers are not kept.
    turns: Turns,
}

impl Webhook {
    /// What the application says, or has said a short time ago to the same question.
    async fn ask(&self, question: &Question<'_>) -> Result<Answer, AuthorizeError> {
        let body = serde_json::to_vec(question).map_err(AuthorizeError::unavailable)?;
        let key = key(&body);
        if let Some(answer) = self.kept.find(&key) {
            return Ok(answer);
        }
        let turn = self.turns.take(question.address()).await;
        let _turn = turn.map_err(AuthorizeError::unavailable)?;
        // Another may have asked the same while this one waited.
        if let Some(answer) = self.kept.find(&key) {
            return Ok(answer);
        }
        let answer = self.application.ask(body.into()).await?;
        self.kept.keep(key, &answer);
        Ok(answer)
    }

    /// Has the application asked the next time.
    fn forget(&self, question: &Question<'_>) {
        if let Ok(body) = serde_json::to_vec(question) {
            self.kept.forget(&key(&body));
        }
    }

    /// The caller with these credentials, if the application knows it.
    async fn known(&self, caller: Caller) -> Result<Option<Identified<Caller>>, AuthorizeError> {
        let answer = self.ask(&caller.who()).await?;
        if !answer.is_allowed {
            return Ok(None);
        }
        let identified = Identified::new(caller.named(answer.subject.clone()));
        Ok(Some(match answer.subject {
            Some(subject) => identified.subject(&*subject),
            None => identified,
        }))
    }
}

impl Authorizer for Webhook {
    type Session = Caller;

    async fn identify(
        &self,
        request: &Parts,
    ) -> Result<Option<Identified<Caller>>, AuthorizeError> {
        let caller = Caller::of(request)?;
        let has_credentials = caller.has_credentials();
        match self.known(caller).await {
            // What is not good may be a guess, which is counted.
            Ok(None) | Err(AuthorizeError::Invalid) if has_credentials => {
                Err(AuthorizeError::Invalid)
            }
            Err(AuthorizeError::Invalid) => Ok(None),
            known => known,
        }
    }

    async fn authorize(
        &self,
        caller: &Caller,
        right: Right,
        channel: &ChannelName,
    ) -> Result<Decision, AuthorizeError> {
        let answer = match self.ask(&caller.may(right, channel)).await {
            // The same credentials are those of another caller by now.
            Ok(answer) if answer.subject.is_some() && answer.subject != caller.subject => {
                Err(AuthorizeError::Invalid)
            }
            answer => answer,
        };
        if matches!(answer, Err(AuthorizeError::Invalid)) {
            self.forget(&caller.who());
        }
        let answer = answer?;
        Ok(Decision::from(answer.is_allowed).good_for(answer.good_for))
    }

    async fn authenticate(&self, token: &str) -> Result<Identified<Caller>, AuthorizeError> {
        let known = self.known(Caller::with_token(token)?).await?;
        known.ok_or(AuthorizeError::Invalid)
    }
}

#[cfg(test)]
mod tests;
