//! The shape of a model and where each of its parameters lies.

use attractor::kernel::Mask;
use core::fmt;
use core::ops::Range;

/// The shape of a model: GPT-2's (Radford et al. 2019), and feedback between its blocks.
///
/// ```
/// use attractor_language::Config;
/// let config = Config::new(128, 4, 4, 128);
/// assert_eq!(config.check(), Ok(()));
/// assert_eq!(config.parameters(), 842_496 + config.feedback_parameters());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many tokens there are; 256 for bytes.
    pub vocabulary: usize,
    /// Most tokens of a sequence.
    pub context: usize,
    /// Features of a token.
    pub width: usize,
    /// Heads of attention; they share the width out.
    pub heads: usize,
    /// Blocks.
    pub blocks: usize,
    /// Whether there are feedback weights: every block but the last one then takes the states of the block above.
    pub feedback: bool,
    /// Whether a token sees only those before it, and itself.
    pub causal: bool,
    /// Whether all blocks have the same parameters, and all feedback: one block, iterated (Dehghani et al. 2018).
    pub tied: bool,
    /// Whether places have embeddings. Without them a token's place is known by what it sees only, and a context costs no parameters.
    pub places: bool,
    /// How many tokens attention goes back, itself included; 0 is all of them. Only of causal models.
    pub window: usize,
}

/// The number that layer normalisation adds to a variance, as in GPT-2.
pub const EPSILON: f64 = 1e-5;

/// The longest window; files have 16 bits for it.
pub(crate) const MOST_WINDOW: usize = (1 << 16) - 1;

/// Why there is no model of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is out of its range.
    Range {
        /// Which.
        what: &'static str,
        /// What it is.
        found: usize,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
    },
    /// The heads do not share the width out evenly.
    Heads {
        /// The width.
        width: usize,
        /// The number of heads.
        heads: usize,
    },
    /// A model that sees both ways has a window.
    Window {
        /// The window.
        window: usize,
    },
    /// There would be more numbers than can be counted.
    TooLarge,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { what, found, least, most } => {
                write!(f, "{what} is {found}; it may be {least} to {most}")
            }
            Self::Heads { width, heads } => {
                write!(f, "{heads} heads do not divide a width of {width}")
            }
            Self::Window { window } => {
                write!(f, "window is {window}, and the model sees both ways; only a causal one has a window")
            }
            Self::TooLarge => f.write_str("a model of this shape has too many parameters"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Where the parameters of a block lie among all, in the order they have in memory.
///
/// A matrix is stored as in GPT-2's files, inputs x outputs, row after row: as a column-major matrix it is outputs x inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of GPT-2's files")]
pub struct BlockLayout {
    pub ln_1_weight: Range<usize>,
    pub ln_1_bias: Range<usize>,
    pub attn_c_attn_weight: Range<usize>,
    pub attn_c_attn_bias: Range<usize>,
    pub attn_c_proj_weight: Range<usize>,
    pub attn_c_proj_bias: Range<usize>,
    pub ln_2_weight: Range<usize>,
    pub ln_2_bias: Range<usize>,
    pub mlp_c_fc_weight: Range<usize>,
    pub mlp_c_fc_bias: Range<usize>,
    pub mlp_c_proj_weight: Range<usize>,
    pub mlp_c_proj_bias: Range<usize>,
}

/// Where the feedback parameters of a block lie: what it takes from the block above is
/// `gate * (U normalised + bias)`, with no bias.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct FeedbackLayout {
    pub ln_weight: Range<usize>,
    pub ln_bias: Range<usize>,
    pub weight: Range<usize>,
    pub gate: Range<usize>,
}

impl Config {
    /// A causal model of bytes, with feedback.
    #[must_use]
    pub const fn new(width: usize, heads: usize, blocks: usize, context: usize) -> Self {
        Self {
            vocabulary: 256,
            context,
            width,
            heads,
            blocks,
            feedback: true,
            causal: true,
            tied: false,
            places: true,
            window: 0,
        }
    }

    /// Whether there is a model of this shape.
    ///
    /// # Errors
    /// [`ConfigError`] says what is out of its range.
    pub const fn check(&self) -> Result<(), ConfigError> {
        const RANGES: [(&str, usize, usize); 6] = [
            ("vocabulary", 2, 1 << 20),
            ("context", 1, 1 << 20),
            ("width", 1, 1 << 16),
            ("heads", 1, 1 << 16),
            ("blocks", 1, 1 << 10),
            ("window", 0, MOST_WINDOW),
        ];
        let found = [self.vocabulary, self.context, self.width, self.heads, self.blocks, self.window];
        let mut i = 0;
        while i < found.len() {
            let (what, least, most) = RANGES[i];
            if found[i] < least || found[i] > most {
                return Err(ConfigError::Range { what, found: found[i], least, most });
            }
            i += 1;
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err(ConfigError::Heads { width: self.width, heads: self.heads });
        }
        if self.window > 0 && !self.causal {
            return Err(ConfigError::Window { window: self.window });
        }
        // Of the ranges above no sum is beyond 64 bits.
        if usize::BITS < 64 && self.count() > (usize::MAX / 16) as u64 {
            return Err(ConfigError::TooLarge);
        }
        Ok(())
    }

    const fn count(&self) -> u64 {
        let (width, blocks) = (self.width as u64, self.own_blocks() as u64);
        let rows = self.vocabulary as u64 + self.placed() as u64;
        let feedback = self.own_feedback() as u64 * (width * width + 3 * width);
        rows * width + blocks * (12 * width * width + 13 * width) + 2 * width + feedback
    }

    /// How many places have embeddings.
    pub(crate) const fn placed(&self) -> usize {
        if self.places { self.context } else { 0 }
    }

    /// Which tokens a token sees.
    pub(crate) const fn mask(&self) -> Mask {
        match (self.causal, self.window) {
            (false, _) => Mask::None,
            (true, 0) => Mask::Causal,
            (true, window) => Mask::Window(window),
        }
    }

    /// How many blocks have parameters of their own.
    #[must_use]
    pub const fn own_blocks(&self) -> usize {
        if self.tied && self.blocks > 1 { 1 } else { self.blocks }
    }

    /// How many blocks have feedback parameters of their own.
    #[must_use]
    pub const fn own_feedback(&self) -> usize {
        match (self.feedback, self.tied) {
            (false, _) => 0,
            (true, false) => self.blocks - 1,
            (true, true) => (self.blocks > 1) as usize,
        }
    }

    /// Which of those a block has.
    pub(crate) const fn own(&self, block: usize) -> usize {
        if self.tied { 0 } else { block }
    }

    /// How many parameters there are.
    #[must_use]
    pub const fn parameters(&self) -> usize {
        self.count() as usize
    }

    /// How many of them are feedback's; they are the last ones.
    #[must_use]
    pub const fn feedback_parameters(&self) -> usize {
        self.own_feedback() * self.feedback_size()
    }

    const fn feedback_size(&self) -> usize {
        self.width * self.width + 3 * self.width
    }

    /// Where the embedding lies: `width` numbers a token. The logits are products with the same numbers.
    #[must_use]
    pub const fn wte(&self) -> Range<usize> {
        0..self.vocabulary * self.width
    }

    /// Where the embedding of places lies, if they have any: `width` numbers a place.
    #[must_use]
    pub const fn wpe(&self) -> Range<usize> {
        let start = self.wte().end;
        start..start + self.placed() * self.width
    }

    /// Where the parameters of a block lie.
    #[must_use]
    pub const fn block(&self, block: usize) -> BlockLayout {
        let width = self.width;
        let size = 12 * width * width + 13 * width;
        let block = self.own(block);
        let mut next = self.wpe().end + block * size;
        macro_rules! take {
            ($count:expr) => {{
                let start = next;
                next += $count;
                start..next
            }};
        }
        let layout = BlockLayout {
            ln_1_weight: take!(width),
            ln_1_bias: take!(width),
            attn_c_attn_weight: take!(3 * width * width),
            attn_c_attn_bias: take!(3 * width),
            attn_c_proj_weight: take!(width * width),
            attn_c_proj_bias: take!(width),
            ln_2_weight: take!(width),
            ln_2_bias: take!(width),
            mlp_c_fc_weight: take!(4 * width * width),
            mlp_c_fc_bias: take!(4 * width),
            mlp_c_proj_weight: take!(4 * width * width),
            mlp_c_proj_bias: take!(width),
        };
        assert!(next == self.wpe().end + (block + 1) * size);
        layout
    }

    /// Where gain and shift of the last normalisation lie.
    #[must_use]
    pub const fn ln_f(&self) -> (Range<usize>, Range<usize>) {
        let start = self.wpe().end + self.own_blocks() * (12 * self.width * self.width + 13 * self.width);
        (start..start + self.width, start + self.width..start + 2 * self.width)
    }

    /// Where the feedback parameters of a block lie, if it has any.
    #[must_use]
    pub const fn feedback_of(&self, block: usize) -> Option<FeedbackLayout> {
        if !self.feedback || block + 1 >= self.blocks {
            return None;
        }
        let width = self.width;
        let start = self.ln_f().1.end + self.own(block) * self.feedback_size();
        let square = start + 2 * width;
        let gate = square + width * width;
        Some(FeedbackLayout {
            ln_weight: start..start + width,
            ln_bias: start + width..square,
            weight: square..gate,
            gate: gate..gate + width,
        })
    }

    /// The same shape with blocks of their own.
    #[must_use]
    pub const fn untied(&self) -> Self {
        Self { tied: false, ..*self }
    }

    /// Calls `visit` for every tensor, in the order of memory, with its name in GPT-2's files, its shape there (row after row) and its place.
    pub fn tensors(&self, mut visit: impl FnMut(fmt::Arguments<'_>, &[usize], Range<usize>)) {
        let width = self.width;
        visit(format_args!("transformer.wte.weight"), &[self.vocabulary, width], self.wte());
        if self.places {
            visit(format_args!("transformer.wpe.weight"), &[self.context, width], self.wpe());
        }
        for number in 0..self.own_blocks() {
            let block = self.block(number);
            let wide = 4 * width;
            let tensors: [(&str, &[usize], Range<usize>); 12] = [
                ("ln_1.weight", &[width], block.ln_1_weight),
                ("ln_1.bias", &[width], block.ln_1_bias),
                ("attn.c_attn.weight", &[width, 3 * width], block.attn_c_attn_weight),
                ("attn.c_attn.bias", &[3 * width], block.attn_c_attn_bias),
                ("attn.c_proj.weight", &[width, width], block.attn_c_proj_weight),
                ("attn.c_proj.bias", &[width], block.attn_c_proj_bias),
                ("ln_2.weight", &[width], block.ln_2_weight),
                ("ln_2.bias", &[width], block.ln_2_bias),
                ("mlp.c_fc.weight", &[width, wide], block.mlp_c_fc_weight),
                ("mlp.c_fc.bias", &[wide], block.mlp_c_fc_bias),
                ("mlp.c_proj.weight", &[wide, width], block.mlp_c_proj_weight),
                ("mlp.c_proj.bias", &[width], block.mlp_c_proj_bias),
            ];
            for (name, shape, place) in tensors {
                visit(format_args!("transformer.h.{number}.{name}"), shape, place);
            }
        }
        let (weight, bias) = self.ln_f();
        visit(format_args!("transformer.ln_f.weight"), &[width], weight);
        visit(format_args!("transformer.ln_f.bias"), &[width], bias);
        for number in 0..self.own_feedback() {
            let Some(feedback) = self.feedback_of(number) else { break };
            let tensors: [(&str, &[usize], Range<usize>); 4] = [
                ("ln.weight", &[width], feedback.ln_weight),
                ("ln.bias", &[width], feedback.ln_bias),
                ("weight", &[width, width], feedback.weight),
                ("gate", &[width], feedback.gate),
            ];
            for (name, shape, place) in tensors {
                visit(format_args!("transformer.h.{number}.feedback.{name}"), shape, place);
            }
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vocabulary, context, width, heads, blocks, feedback, causal, tied, places, window } = self;
        write!(
            f,
            "vocabulary {vocabulary}, context {context}, width {width}, heads {heads}, blocks {blocks}"
        )?;
        f.write_str(if *feedback { ", feedback" } else { ", no feedback" })?;
        f.write_str(if *causal { ", causal" } else { ", bidirectional" })?;
        f.write_str(if *tied { ", tied" } else { "" })?;
        f.write_str(if *places { "" } else { ", no places" })?;
        if *window > 0 { write!(f, ", window {window}") } else { Ok(()) }
    }
}
