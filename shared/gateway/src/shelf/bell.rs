//! How does one request let another one go on, where not every waker is heard? By a bell that rings when it is dropped.

/// Rings when it is dropped.
pub trait Bell: Sized + 'static {
    /// Resolves once the bell has rung.
    type Rung: Future<Output = ()>;

    /// A bell, and who hears it.
    fn hung() -> (Self, Self::Rung);
}
