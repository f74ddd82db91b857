/*
 * The little of the C interface of PKCS#11 that abi.c needs: types, numbers and the order of the functions in the lists.
 * These are facts of the standard (PKCS#11 3.2, appendix B); the words are ours.
 */
#ifndef PKCS11_MIN_H
#define PKCS11_MIN_H

typedef unsigned char CK_BYTE;
typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;

typedef struct { CK_BYTE major, minor; } CK_VERSION;
typedef struct { CK_ULONG type; void *value; CK_ULONG length; } CK_ATTRIBUTE;
typedef struct { CK_ULONG kind; void *parameter; CK_ULONG length; } CK_MECHANISM;
typedef struct { CK_BYTE *name; void *list; CK_ULONG flags; } CK_INTERFACE;
typedef CK_RV (*CK_MUTEX_FUNCTION)(void *);
typedef CK_RV (*CK_CREATE_MUTEX)(void **);
typedef struct {
    CK_CREATE_MUTEX create;
    CK_MUTEX_FUNCTION destroy, lock, unlock;
    CK_ULONG flags;
    void *reserved;
} CK_INITIALIZE_ARGS;

/* Every function takes at most eight arguments, each a number or a pointer: one shape calls them all on the LP64 machines. */
typedef CK_RV (*CK_FUNCTION)(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG,
                             CK_ULONG, CK_ULONG, CK_ULONG);
typedef struct { CK_VERSION version; CK_FUNCTION function[104]; } CK_LIST;

/* The order of the lists: 2.40 has the first 68, 3.0 the first 92, 3.2 all. */
#define FUNCTION_NAMES(X)                                                                                              \
    X(Initialize) X(Finalize) X(GetInfo) X(GetFunctionList) X(GetSlotList) X(GetSlotInfo) X(GetTokenInfo)              \
    X(GetMechanismList) X(GetMechanismInfo) X(InitToken) X(InitPIN) X(SetPIN) X(OpenSession) X(CloseSession)           \
    X(CloseAllSessions) X(GetSessionInfo) X(GetOperationState) X(SetOperationState) X(Login) X(Logout)                 \
    X(CreateObject) X(CopyObject) X(DestroyObject) X(GetObjectSize) X(GetAttributeValue) X(SetAttributeValue)          \
    X(FindObjectsInit) X(FindObjects) X(FindObjectsFinal) X(EncryptInit) X(Encrypt) X(EncryptUpdate) X(EncryptFinal)   \
    X(DecryptInit) X(Decrypt) X(DecryptUpdate) X(DecryptFinal) X(DigestInit) X(Digest) X(DigestUpdate) X(DigestKey)    \
    X(DigestFinal) X(SignInit) X(Sign) X(SignUpdate) X(SignFinal) X(SignRecoverInit) X(SignRecover) X(VerifyInit)      \
    X(Verify) X(VerifyUpdate) X(VerifyFinal) X(VerifyRecoverInit) X(VerifyRecover) X(DigestEncryptUpdate)              \
    X(DecryptDigestUpdate) X(SignEncryptUpdate) X(DecryptVerifyUpdate) X(GenerateKey) X(GenerateKeyPair) X(WrapKey)    \
    X(UnwrapKey) X(DeriveKey) X(SeedRandom) X(GenerateRandom) X(GetFunctionStatus) X(CancelFunction)                   \
    X(WaitForSlotEvent) X(GetInterfaceList) X(GetInterface) X(LoginUser) X(SessionCancel) X(MessageEncryptInit)        \
    X(EncryptMessage) X(EncryptMessageBegin) X(EncryptMessageNext) X(MessageEncryptFinal) X(MessageDecryptInit)        \
    X(DecryptMessage) X(DecryptMessageBegin) X(DecryptMessageNext) X(MessageDecryptFinal) X(MessageSignInit)           \
    X(SignMessage) X(SignMessageBegin) X(SignMessageNext) X(MessageSignFinal) X(MessageVerifyInit) X(VerifyMessage)    \
    X(VerifyMessageBegin) X(VerifyMessageNext) X(MessageVerifyFinal) X(EncapsulateKey) X(DecapsulateKey)               \
    X(VerifySignatureInit) X(VerifySignature) X(VerifySignatureUpdate) X(VerifySignatureFinal)                         \
    X(GetSessionValidationFlags) X(AsyncComplete) X(AsyncGetID) X(AsyncJoin) X(WrapKeyAuthenticated)                   \
    X(UnwrapKeyAuthenticated)

enum {
#define X(name) C_##name,
    FUNCTION_NAMES(X)
#undef X
    FUNCTIONS
};
enum { FUNCTIONS_2_40 = 68, FUNCTIONS_3_0 = 92, FUNCTIONS_3_2 = 104 };

enum {
    CKR_OK = 0x00, CKR_HOST_MEMORY = 0x02, CKR_SLOT_ID_INVALID = 0x03, CKR_GENERAL_ERROR = 0x05, CKR_ARGUMENTS_BAD = 0x07,
    CKR_NO_EVENT = 0x08, CKR_NEED_TO_CREATE_THREADS = 0x09, CKR_CANT_LOCK = 0x0a, CKR_ATTRIBUTE_TYPE_INVALID = 0x12,
    CKR_ATTRIBUTE_VALUE_INVALID = 0x13, CKR_DATA_LEN_RANGE = 0x21, CKR_FUNCTION_NOT_SUPPORTED = 0x54,
    CKR_MECHANISM_INVALID = 0x70, CKR_MECHANISM_PARAM_INVALID = 0x71, CKR_OPERATION_NOT_INITIALIZED = 0x91,
    CKR_PIN_INCORRECT = 0xa0, CKR_PIN_INVALID = 0xa1, CKR_PIN_LEN_RANGE = 0xa2, CKR_SESSION_HANDLE_INVALID = 0xb3,
    CKR_TEMPLATE_INCOMPLETE = 0xd0, CKR_TEMPLATE_INCONSISTENT = 0xd1, CKR_USER_ALREADY_LOGGED_IN = 0x100,
    CKR_BUFFER_TOO_SMALL = 0x150, CKR_CRYPTOKI_NOT_INITIALIZED = 0x190, CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191,

    CKF_OS_LOCKING_OK = 0x02, CKF_LIBRARY_CANT_CREATE_OS_THREADS = 0x01, CKF_DONT_BLOCK = 0x01, CKF_RW_SESSION = 0x02,
    CKF_SERIAL_SESSION = 0x04, CKF_TOKEN_INITIALIZED = 0x400,

    CKA_CLASS = 0x00, CKA_TOKEN = 0x01, CKA_PRIVATE = 0x02, CKA_LABEL = 0x03, CKA_VALUE = 0x11, CKA_KEY_TYPE = 0x100,
    CKA_SIGN = 0x108, CKA_UNWRAP = 0x107, CKA_WRAP_TEMPLATE = 0x40000211, CKA_UNWRAP_TEMPLATE = 0x40000212,
    CKO_DATA = 0, CKO_SECRET_KEY = 4, CKK_GENERIC_SECRET = 0x10, CKK_AES = 0x1f,
    CKM_SHA256 = 0x250, CKM_SHA256_HMAC = 0x251, CKM_AES_CBC = 0x1082, CKM_AES_GCM = 0x1087, CKU_USER = 1
};

#endif
