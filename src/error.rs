//! Errors of the token, and the one match to return values.
//!
//! What lives here: [`Error`], one variant for each way a request can be refused.
//! What must never live here: secrets, and texts for people (the administration writes those).
//! Who calls it: every chapter answers with it; `service.rs` turns it into a number.

use strongroom_crypto as crypto;
use strongroom_keymem::OutOfMemory;
use strongroom_wire::ck::Rv;

use crate::ports::StoreError;

/// Makes the enum and its match, each variant beside its return value.
macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident => $rv:ident),* $(,)?) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Error {
            $($(#[$doc])* $variant),*
        }

        impl Error {
            /// The return value of the standard.
            #[must_use]
            pub const fn rv(self) -> Rv {
                match self {
                    $(Self::$variant => Rv::$rv),*
                }
            }
        }
    };
}

errors! {
    /// The object may not be copied, destroyed or modified: it says so itself.
    ActionProhibited => ACTION_PROHIBITED,
    /// An argument makes no sense.
    ArgumentsBad => ARGUMENTS_BAD,
    /// The attribute may not be set, now or ever.
    AttributeReadOnly => ATTRIBUTE_READ_ONLY,
    /// The attribute may not be revealed.
    AttributeSensitive => ATTRIBUTE_SENSITIVE,
    /// No such attribute for such an object.
    AttributeTypeInvalid => ATTRIBUTE_TYPE_INVALID,
    /// The attribute cannot have this value.
    AttributeValueInvalid => ATTRIBUTE_VALUE_INVALID,
    /// The curve is not supported.
    CurveNotSupported => CURVE_NOT_SUPPORTED,
    /// The data are wrong in content.
    DataInvalid => DATA_INVALID,
    /// The data are wrong in length.
    DataLenRange => DATA_LEN_RANGE,
    /// The daemon failed; what it was doing is undone.
    DeviceError => DEVICE_ERROR,
    /// Locked memory or the disk is full.
    DeviceMemory => DEVICE_MEMORY,
    /// The public key does not fit the domain parameters.
    DomainParamsInvalid => DOMAIN_PARAMS_INVALID,
    /// The ciphertext is wrong in content: one code for every padding and tag failure.
    EncryptedDataInvalid => ENCRYPTED_DATA_INVALID,
    /// The ciphertext is wrong in length.
    EncryptedDataLenRange => ENCRYPTED_DATA_LEN_RANGE,
    /// It was refused for now: too much at once.
    FunctionFailed => FUNCTION_FAILED,
    /// The function exists, but not for this.
    FunctionNotSupported => FUNCTION_NOT_SUPPORTED,
    /// Something that should be impossible.
    GeneralError => GENERAL_ERROR,
    /// The key's own flags forbid this use.
    KeyFunctionNotPermitted => KEY_FUNCTION_NOT_PERMITTED,
    /// No such key.
    KeyHandleInvalid => KEY_HANDLE_INVALID,
    /// A secret key cannot be digested.
    KeyIndigestible => KEY_INDIGESTIBLE,
    /// The wrapping mechanism cannot wrap this key, or the key wants a trusted one.
    KeyNotWrappable => KEY_NOT_WRAPPABLE,
    /// The key's size does not fit the mechanism.
    KeySizeRange => KEY_SIZE_RANGE,
    /// The key's type does not fit the mechanism.
    KeyTypeInconsistent => KEY_TYPE_INCONSISTENT,
    /// The key is not extractable.
    KeyUnextractable => KEY_UNEXTRACTABLE,
    /// No such mechanism, or not for this function.
    MechanismInvalid => MECHANISM_INVALID,
    /// The parameter does not fit the mechanism.
    MechanismParamInvalid => MECHANISM_PARAM_INVALID,
    /// No such object.
    ObjectHandleInvalid => OBJECT_HANDLE_INVALID,
    /// Such an operation is already active.
    OperationActive => OPERATION_ACTIVE,
    /// The operation cannot be cancelled.
    OperationCancelFailed => OPERATION_CANCEL_FAILED,
    /// No such operation is active.
    OperationNotInitialized => OPERATION_NOT_INITIALIZED,
    /// The PIN is wrong.
    PinIncorrect => PIN_INCORRECT,
    /// The PIN has bytes that are not allowed.
    PinInvalid => PIN_INVALID,
    /// The PIN is too short or too long.
    PinLenRange => PIN_LEN_RANGE,
    /// Too many wrong PINs.
    PinLocked => PIN_LOCKED,
    /// The public key of a signature check is not valid.
    PublicKeyInvalid => PUBLIC_KEY_INVALID,
    /// The seed was not taken.
    RandomSeedNotSupported => RANDOM_SEED_NOT_SUPPORTED,
    /// No more sessions.
    SessionCount => SESSION_COUNT,
    /// Sessions are open.
    SessionExists => SESSION_EXISTS,
    /// No such session.
    SessionHandleInvalid => SESSION_HANDLE_INVALID,
    /// No asynchronous sessions exist.
    SessionAsyncNotSupported => SESSION_ASYNC_NOT_SUPPORTED,
    /// Only serial sessions exist.
    SessionParallelNotSupported => SESSION_PARALLEL_NOT_SUPPORTED,
    /// The session is read-only.
    SessionReadOnly => SESSION_READ_ONLY,
    /// A read-only session keeps the security officer out.
    SessionReadOnlyExists => SESSION_READ_ONLY_EXISTS,
    /// The security officer is logged in, so no read-only session.
    SessionReadWriteSoExists => SESSION_READ_WRITE_SO_EXISTS,
    /// The signature is wrong.
    SignatureInvalid => SIGNATURE_INVALID,
    /// The signature is wrong by its length.
    SignatureLenRange => SIGNATURE_LEN_RANGE,
    /// No such slot.
    SlotIdInvalid => SLOT_ID_INVALID,
    /// Attributes are missing.
    TemplateIncomplete => TEMPLATE_INCOMPLETE,
    /// Attributes contradict each other or the function.
    TemplateInconsistent => TEMPLATE_INCONSISTENT,
    /// The token was taken out of its slot.
    TokenNotPresent => TOKEN_NOT_PRESENT,
    /// The slot holds no initialised token.
    TokenNotRecognized => TOKEN_NOT_RECOGNIZED,
    /// The unwrapping key does not exist.
    UnwrappingKeyHandleInvalid => UNWRAPPING_KEY_HANDLE_INVALID,
    /// The unwrapping key's size does not fit.
    UnwrappingKeySizeRange => UNWRAPPING_KEY_SIZE_RANGE,
    /// The unwrapping key's type does not fit.
    UnwrappingKeyTypeInconsistent => UNWRAPPING_KEY_TYPE_INCONSISTENT,
    /// That user is already logged in.
    UserAlreadyLoggedIn => USER_ALREADY_LOGGED_IN,
    /// Another user is logged in.
    UserAnotherAlreadyLoggedIn => USER_ANOTHER_ALREADY_LOGGED_IN,
    /// Nobody is logged in, or not the one it needs.
    UserNotLoggedIn => USER_NOT_LOGGED_IN,
    /// The user's PIN was never set.
    UserPinNotInitialized => USER_PIN_NOT_INITIALIZED,
    /// No such type of user, here.
    UserTypeInvalid => USER_TYPE_INVALID,
    /// The wrapped key is wrong in content.
    WrappedKeyInvalid => WRAPPED_KEY_INVALID,
    /// The wrapped key is wrong in length.
    WrappedKeyLenRange => WRAPPED_KEY_LEN_RANGE,
    /// The wrapping key does not exist.
    WrappingKeyHandleInvalid => WRAPPING_KEY_HANDLE_INVALID,
    /// The wrapping key's size does not fit.
    WrappingKeySizeRange => WRAPPING_KEY_SIZE_RANGE,
    /// The wrapping key's type does not fit.
    WrappingKeyTypeInconsistent => WRAPPING_KEY_TYPE_INCONSISTENT,
}

/// What chapters answer with.
pub type Result<T> = std::result::Result<T, Error>;

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Self {
        Self::DeviceMemory
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::DeviceMemory,
            StoreError::Failed(_) => Self::DeviceError,
        }
    }
}

/// Failures of a primitive where the caller has not said what they mean in its place.
impl From<crypto::Error> for Error {
    fn from(error: crypto::Error) -> Self {
        match error {
            crypto::Error::Memory => Self::DeviceMemory,
            crypto::Error::SignatureInvalid => Self::SignatureInvalid,
            crypto::Error::SignatureLength => Self::SignatureLenRange,
            crypto::Error::DataLength => Self::DataLenRange,
            crypto::Error::DataInvalid => Self::DataInvalid,
            crypto::Error::KeyMalformed | crypto::Error::PointInvalid => {
                Self::AttributeValueInvalid
            }
            crypto::Error::KeySize => Self::KeySizeRange,
            crypto::Error::ParameterInvalid => Self::MechanismParamInvalid,
            crypto::Error::Unsupported => Self::MechanismInvalid,
            crypto::Error::Internal => Self::GeneralError,
        }
    }
}
