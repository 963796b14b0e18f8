//! Finds the files to be sent and gives each the name its document is known by.
//!
//! The name is the file's path below the root, written with `/`: two files of one name in two folders are
//! two documents, and the same file sent again is the same document. A file outside of the root is called
//! from the argument's last part on.

use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::OsStr,
    fs,
    path::{Component, Path, PathBuf},
};

use super::{FileFailure, Skipped};

/// The endings of the formats that are read.
const ENDINGS: [&str; 8] = ["md", "markdown", "txt", "text", "html", "htm", "pdf", "docx"];

/// A file to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// What its document is called.
    pub(super) name: String,
    /// In bytes, when it was found.
    pub(super) size: u64,
}

/// What there is to be sent, and what not.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<File>,
    pub(super) failures: Vec<FileFailure>,
    pub(super) skipped: Skipped,
}

impl Found {
    pub(super) fn failed(reason: &str) -> Self {
        Self { failures: vec![FileFailure::new("the walk through the folders", reason)], ..Self::default() }
    }

    fn fail(&mut self, path: &Path, reason: impl Into<String>) {
        self.failures.push(FileFailure::new(path.display().to_string(), reason));
    }
}

/// Finds all files of the given files and folders, each once, folders in order of their names.
pub(super) fn find(paths: &[PathBuf], root: Option<&Path>) -> Found {
    let mut walk = Walk { found: Found::default(), seen: HashMap::new(), root: None };
    walk.root = match root {
        Some(root) => match fs::canonicalize(root) {
            Ok(root) => Some(root),
            Err(error) => {
                walk.found.fail(root, format!("is no folder to call documents relative to: {error}"));
                return walk.found;
            }
        },
        None => std::env::current_dir().and_then(fs::canonicalize).ok(),
    };
    for path in paths {
        walk.argument(path);
    }
    walk.found
}

struct Walk {
    found: Found,
    /// Which file has a name already.
    seen: HashMap<String, PathBuf>,
    root: Option<PathBuf>,
}

impl Walk {
    fn argument(&mut self, path: &Path) {
        // Resolved, so that `docs`, `./docs` and `/abs/docs` are the same documents.
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) => return self.found.fail(path, error.to_string()),
        };
        let base = match &self.root {
            Some(root) if real.starts_with(root) => root.clone(),
            _ => real.parent().unwrap_or(&real).to_owned(),
        };
        match fs::metadata(&real) {
            Ok(metadata) if metadata.is_dir() => self.folder(&real, &base),
            // A link is asked for by the name it has, which is the one that tells its format.
            Ok(metadata) if metadata.is_file() && (is_supported(path) || is_supported(&real)) => {
                self.file(real, &base, metadata.len());
            }
            Ok(metadata) if metadata.is_file() => self.found.fail(
                path,
                format!(
                    "is not of a format that ragq reads ({})",
                    ENDINGS.map(|ending| format!(".{ending}")).join(" ")
                ),
            ),
            Ok(_) => self.found.fail(path, "is neither a file nor a folder"),
            Err(error) => self.found.fail(path, error.to_string()),
        }
    }

    /// Walks with a list of its own instead of recursion: folders may be nested deeper than a stack is.
    fn folder(&mut self, top: &Path, base: &Path) {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let mut entries = match fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(entries) => entries,
                Err(error) => {
                    self.found.fail(&folder, error.to_string());
                    continue;
                }
            };
            entries.sort_by_key(fs::DirEntry::file_name);
            let mut inner = Vec::new();
            for entry in entries {
                if let Some(folder) = self.entry(&entry, base) {
                    inner.push(folder);
                }
            }
            // The last pushed is taken first.
            folders.extend(inner.into_iter().rev());
        }
    }

    /// Takes one entry of a folder; a folder is given back to be walked.
    fn entry(&mut self, entry: &fs::DirEntry, base: &Path) -> Option<PathBuf> {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            self.found.skipped.hidden += 1;
            return None;
        }
        // A link is looked through, so that a linked file is taken and a linked folder is not.
        let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && !linked => return Some(path),
            Ok(metadata) if metadata.is_file() && is_supported(&path) => self.file(path, base, metadata.len()),
            Ok(metadata) if metadata.is_file() => self.found.skipped.unsupported += 1,
            Ok(_) => self.found.skipped.special += 1,
            Err(error) => self.found.fail(&path, error.to_string()),
        }
        None
    }

    fn file(&mut self, path: PathBuf, base: &Path, size: u64) {
        let Some(name) = name_below(base, &path) else {
            return self.found.fail(&path, "its name is not UTF-8");
        };
        match self.seen.entry(name) {
            Entry::Occupied(seen) if *seen.get() == path => {}
            Entry::Occupied(seen) => {
                let reason = format!(
                    "would be called {} like {}: give --root, a folder above both",
                    seen.key(),
                    seen.get().display()
                );
                self.found.fail(&path, reason);
            }
            Entry::Vacant(free) => {
                self.found.files.push(File { name: free.key().clone(), path: path.clone(), size });
                free.insert(path);
            }
        }
    }
}

fn is_supported(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ENDINGS.iter().any(|supported| ending.eq_ignore_ascii_case(supported))
}

fn name_below(base: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(base).unwrap_or(path);
    let mut parts = Vec::new();
    for part in below.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {}
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSUPPORTED: crate::domain::failure::Code = crate::domain::failure::Code::UnsupportedFormat;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    fn names(found: &Found) -> Vec<&str> {
        found.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn the_endings_are_those_that_are_read() {
        use crate::extract::accept;
        assert!(ENDINGS.iter().all(|ending| {
            accept(&format!("x.{ending}"), b"text").map_or_else(|failure| failure.code != UNSUPPORTED, |_| true)
        }));
        // The refusal names all that would do.
        let refusal = accept("x.odd", b"text").unwrap_err().message;
        assert_eq!(refusal.matches('.').count(), ENDINGS.len(), "{refusal}");
    }

    #[test]
    fn a_folder_is_walked_in_order_and_what_is_passed_over_is_counted() {
        let at = folder(&["b.MD", "a/x.txt", "a/y.rs", ".git/config", "a/.hidden.md", "c.pdf"]);
        let found = find(&[at.path().to_owned()], Some(at.path()));
        assert_eq!(names(&found), ["b.MD", "c.pdf", "a/x.txt"]);
        assert_eq!(found.skipped, Skipped { hidden: 2, unsupported: 1, special: 0 });
        assert!(found.failures.is_empty());
    }

    #[test]
    fn the_same_file_has_the_same_name_however_it_is_given_and_is_sent_once() {
        let at = folder(&["docs/sub/x.md", "docs/x.md"]);
        let paths = ["docs", "docs/sub", "docs/sub/x.md", "docs/../docs/x.md"].map(|path| at.path().join(path));
        assert_eq!(names(&find(&paths, Some(at.path()))), ["docs/x.md", "docs/sub/x.md"]);
    }

    #[test]
    fn outside_of_the_root_two_files_of_one_name_are_not_mixed_up() {
        let (at, root) = (folder(&["a/x.md", "b/x.md"]), folder(&[]));
        let paths = ["a/x.md", "b/x.md"].map(|path| at.path().join(path));
        let found = find(&paths, Some(root.path()));
        assert_eq!(names(&found), ["x.md"]);
        assert!(found.failures[0].reason.contains("--root"), "{:?}", found.failures);
        assert_eq!(names(&find(&paths, Some(at.path()))), ["a/x.md", "b/x.md"]);
    }

    #[test]
    fn a_file_that_was_asked_for_by_name_and_can_not_be_taken_is_a_failure() {
        let at = folder(&["x.rs"]);
        let found = find(&["x.rs", "gone.md"].map(|path| at.path().join(path)), Some(at.path()));
        assert_eq!((found.files.len(), found.failures.len()), (0, 2));
        assert!(found.failures[0].reason.contains(".docx"));
    }

    #[cfg(unix)]
    #[test]
    fn linked_files_are_taken_and_linked_folders_are_not() {
        let at = folder(&["real/x.md"]);
        std::os::unix::fs::symlink(at.path(), at.path().join("real/loop")).unwrap();
        std::os::unix::fs::symlink(at.path().join("real/x.md"), at.path().join("real/y.md")).unwrap();
        let found = find(&[at.path().join("real")], Some(at.path()));
        assert_eq!(names(&found), ["real/x.md", "real/y.md"]);
        assert_eq!(found.skipped.special, 1);
    }
}
