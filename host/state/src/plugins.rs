//! Component bytes by digest.
use crate::error::{ReadError, WriteError};

/// The components that epochs were made with. A handle: clones may go to other threads.
#[derive(Clone)]
pub struct PluginFolder {}

impl PluginFolder {
    /// Keeps a component under `digest` (`sha256:<hex>`), durably. Nothing happens when it is there already.
    ///
    /// # Errors
    /// A [`WriteError`]; a digest that is not `<letters and digits>:<hex>` is `InvalidInput`.
    pub fn put(&self, _digest: &str, _component: &[u8]) -> Result<(), WriteError> {
        unimplemented!()
    }

    /// The component that was put under `digest`.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when the file is not what was written.
    pub fn get(&self, _digest: &str) -> Result<Option<Vec<u8>>, ReadError> {
        unimplemented!()
    }

    /// Removes what is not in `digests`.
    ///
    /// # Errors
    /// A [`WriteError`].
    pub fn retain(&self, _digests: &[&str]) -> Result<(), WriteError> {
        unimplemented!()
    }
}
