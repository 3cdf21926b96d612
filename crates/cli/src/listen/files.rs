//! `--static`: the files of a folder, and nothing beside it.

use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use tokio::{sync::Semaphore, task::spawn_blocking};
use tower_http::services::ServeDir;
use tower_service::Service;

use super::http::{Body, holding, text};

/// How many files are sent at a time: each has a descriptor, and two pieces of 64 KiB where a client reads slowly.
const MAX_FILES: usize = 128;

/// What a folder is asked for where its name ends with a slash.
const INDEX: &str = "index.html";

/// The files of one folder. tower-http answers: types, ranges, conditional requests. It follows symbolic links
/// wherever they lead, and waits for pipes, so that each path is looked at before.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
    serve: ServeDir,
    free: Arc<Semaphore>,
}

impl Files {
    /// # Errors
    ///
    /// When it is not a folder.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let open = || {
            let root = folder.canonicalize()?;
            match root.is_dir() {
                true => Ok(root),
                false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            }
        };
        let root = open().with_context(|| format!("cannot serve --static {}", folder.display()))?;
        let serve = ServeDir::new(&root);
        Ok(Self { root, serve, free: Arc::new(Semaphore::new(MAX_FILES)) })
    }

    /// Answers a request for a file.
    pub(super) async fn answer<B: Send + 'static>(&self, request: Request<B>) -> Response<Body> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            let mut busy =
                text(StatusCode::SERVICE_UNAVAILABLE, "as many files as may be are being sent");
            busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return busy;
        };
        let (root, path) = (self.root.clone(), request.uri().path().to_owned());
        let may_be_served = spawn_blocking(move || may_be_served(&root, &path)).await;
        if !may_be_served.unwrap_or(false) {
            return text(StatusCode::NOT_FOUND, "there is no such file");
        }
        let mut response = match self.serve.clone().call(request).await {
            Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
            Err(never) => match never {},
        };
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A file that was changed is seen at the next look.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        holding(permit, response)
    }
}

/// Whether the path names a file or a folder below `root`, by links or not, and nothing hidden. What is not
/// there may be: the answer is the same.
fn may_be_served(root: &Path, path: &str) -> bool {
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return false };
    let path = Path::new(path.trim_start_matches('/'));
    let is_plain = |part: Component<'_>| match part {
        Component::Normal(name) => {
            let name = name.as_encoded_bytes();
            (!name.starts_with(b".") || name == b".well-known") && !name.contains(&0)
        }
        Component::CurDir => true,
        _ => false,
    };
    if !path.components().all(is_plain) {
        return false;
    }
    let file = root.join(path);
    match file.canonicalize() {
        Ok(file) if file.is_dir() => {
            file.starts_with(root)
                && file.join(INDEX).canonicalize().is_ok_and(|index| is_file_below(root, &index))
        }
        Ok(file) => is_file_below(root, &file),
        Err(_) => false,
    }
}

/// Whether a path without links is that of a regular file below `root`.
fn is_file_below(root: &Path, file: &Path) -> bool {
    file.starts_with(root) && file.is_file()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_what_is_below_the_folder_and_not_hidden_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("public").canonicalize().unwrap_or_else(|_| {
            fs::create_dir(folder.path().join("public")).unwrap();
            folder.path().join("public").canonicalize().unwrap()
        });
        fs::write(folder.path().join("secret"), "s").unwrap();
        fs::write(root.join("a b.txt"), "a").unwrap();
        fs::write(root.join(".env"), "hidden").unwrap();
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub").join(INDEX), "index").unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::create_dir_all(root.join("trap")).unwrap();
        symlink(folder.path().join("secret"), root.join("out")).unwrap();
        symlink(folder.path(), root.join("up")).unwrap();
        symlink(root.join("a b.txt"), root.join("in")).unwrap();
        symlink(folder.path().join("secret"), root.join("trap").join(INDEX)).unwrap();
        for good in ["/a%20b.txt", "/in", "/sub", "/sub/", "/sub/index.html", "//sub/./"] {
            assert!(may_be_served(&root, good), "{good}");
        }
        for bad in [
            "/out",
            "/up/secret",
            "/../secret",
            "/%2e%2e/secret",
            "/sub/../../secret",
            "/.env",
            "/%2eenv",
            "/nothing",
            "/empty/",
            "/trap/",
            "/a%00",
            "/%ff",
            "/..%2fsecret",
        ] {
            assert!(!may_be_served(&root, bad), "{bad}");
        }
        let device = Path::new("/dev/null").canonicalize().unwrap();
        assert!(!is_file_below(Path::new("/dev"), &device));
    }
}
