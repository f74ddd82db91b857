/*
 * The C boundary of a PKCS#11 module, tried from C: null pointers, short and unaligned buffers, huge numbers, nested templates,
 * initialising, forking, unloading, threads, events.
 *
 *   abi MODULE TOKEN-LABEL USER-PIN [softhsm]
 *
 * Prints "ok NAME" or "not ok NAME: why" for each check and "done" at the end; a crash is a missing "done". The line "at NAME" before
 * a dangerous call tells where it was.
 */
#define _GNU_SOURCE
#include "pkcs11_min.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *module_path, *label, *pin;
static int softhsm;
static void *library;
static CK_LIST *list, *list_3_0, *list_3_2;

static const char *names[] = {
#define X(name) "C_" #name,
    FUNCTION_NAMES(X)
#undef X
};

static void report(int good, const char *name, CK_RV code) {
    if (good)
        printf("ok %s\n", name);
    else
        printf("not ok %s: %#lx\n", name, code);
    fflush(stdout);
}

static void at(const char *name) {
    printf("at %s\n", name);
    fflush(stdout);
}

#define P(pointer) ((CK_ULONG)(uintptr_t)(pointer))
#define CALL(number, ...) CALL_(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, g, h, i, j, k, l, ...)                                                         \
    (list->function[number]((CK_ULONG)(a), (CK_ULONG)(b), (CK_ULONG)(c), (CK_ULONG)(d), (CK_ULONG)(e), (CK_ULONG)(f),  \
                            (CK_ULONG)(g), (CK_ULONG)(h), (CK_ULONG)(i), (CK_ULONG)(j), (CK_ULONG)(k), (CK_ULONG)(l)))

static int one_of(CK_RV code, const CK_RV *codes, int count) {
    for (int i = 0; i < count; i++)
        if (codes[i] == code) return 1;
    return 0;
}
#define REFUSED(name, call, ...)                                                                                       \
    do {                                                                                                               \
        const CK_RV codes_[] = {__VA_ARGS__};                                                                          \
        at(name);                                                                                                      \
        CK_RV code_ = (call);                                                                                          \
        report(one_of(code_, codes_, (int)(sizeof codes_ / sizeof codes_[0])), name, code_);                           \
    } while (0)
#define GOOD(name, call) REFUSED(name, call, CKR_OK)

static void load(void) {
    library = dlopen(module_path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        printf("not ok load: %s\n", dlerror());
        exit(1);
    }
    CK_RV (*get)(CK_LIST **) = (CK_RV(*)(CK_LIST **))dlsym(library, "C_GetFunctionList");
    CK_RV code = get(&list);
    report(code == CKR_OK && list, "C_GetFunctionList", code);
    REFUSED("C_GetFunctionList without a place", get(NULL), CKR_ARGUMENTS_BAD);
}

static CK_RV initialize(void) {
    CK_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    return CALL(C_Initialize, P(&arguments));
}

/* The slot of the token with our label. */
static CK_ULONG find_slot(void) {
    CK_ULONG slots[32], count = 32;
    if (CALL(C_GetSlotList, 1, P(slots), P(&count)) != CKR_OK) return (CK_ULONG)-1;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_BYTE info[256] = {0};
        if (CALL(C_GetTokenInfo, slots[i], P(info)) == CKR_OK && !memcmp(info, label, strlen(label)) &&
            info[strlen(label)] == ' ')
            return slots[i];
    }
    return (CK_ULONG)-1;
}

static CK_ULONG open_session(void) {
    CK_ULONG session = 0;
    CK_RV code = CALL(C_OpenSession, find_slot(), CKF_SERIAL_SESSION | CKF_RW_SESSION, 0, 0, P(&session));
    if (code != CKR_OK) report(0, "C_OpenSession", code);
    code = CALL(C_Login, session, CKU_USER, P(pin), strlen(pin));
    if (code != CKR_OK && code != CKR_USER_ALREADY_LOGGED_IN) report(0, "C_Login", code);
    return session;
}

static CK_ULONG make_key(CK_ULONG session) {
    CK_ULONG class = CKO_SECRET_KEY, type = CKK_GENERIC_SECRET, key = 0;
    CK_BYTE yes = 1, no = 0, value[32] = "thirty-two bytes of a known key";
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_TOKEN, &no, 1},
        {CKA_PRIVATE, &yes, 1},            {CKA_SIGN, &yes, 1},                {CKA_VALUE, value, sizeof value},
    };
    CK_RV code = CALL(C_CreateObject, session, P(template), 6, P(&key));
    if (code != CKR_OK) report(0, "make_key", code);
    return key;
}

static CK_RV sign(CK_ULONG session, CK_ULONG key, CK_BYTE *mac) {
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG length = 32;
    CK_RV code = CALL(C_SignInit, session, P(&mechanism), key);
    if (code != CKR_OK) return code;
    return CALL(C_Sign, session, P("data"), 4, P(mac), P(&length));
}

/* ---- lists ---- */

static void all_there(const char *name, const CK_LIST *which, int count, int major, int minor) {
    int good = which->version.major == major && which->version.minor == minor;
    for (int i = 0; i < count; i++) {
        if (!which->function[i]) {
            printf("not ok %s: %s is null\n", name, names[i]);
            good = 0;
        }
    }
    report(good, name, (CK_RV)(which->version.major * 256 + which->version.minor));
}

static void interfaces(void) {
    all_there("list of 2.40", list, FUNCTIONS_2_40, 2, 40);
    if (softhsm) return;
    CK_RV (*all)(CK_INTERFACE *, CK_ULONG *) = (CK_RV(*)(CK_INTERFACE *, CK_ULONG *))dlsym(library, "C_GetInterfaceList");
    CK_RV (*one)(CK_BYTE *, CK_VERSION *, CK_INTERFACE **, CK_ULONG) =
        (CK_RV(*)(CK_BYTE *, CK_VERSION *, CK_INTERFACE **, CK_ULONG))dlsym(library, "C_GetInterface");
    report(all && one, "C_GetInterface and C_GetInterfaceList are exported", 0);
    if (!all || !one) return;
    CK_ULONG count = 0, less;
    CK_INTERFACE found[16] = {{0}}, *interface = NULL;
    GOOD("C_GetInterfaceList for the count", all(NULL, &count));
    report(count >= 3 && count <= 16, "three interfaces at least", count);
    less = count - 1;
    REFUSED("C_GetInterfaceList, short", all(found, &less), CKR_BUFFER_TOO_SMALL);
    report(less == count, "C_GetInterfaceList tells the count", less);
    REFUSED("C_GetInterfaceList without count", all(found, NULL), CKR_ARGUMENTS_BAD);
    GOOD("C_GetInterfaceList", all(found, &count));
    for (CK_ULONG i = 0; i < count; i++) {
        if (strcmp((char *)found[i].name, "PKCS 11")) continue;
        CK_LIST *which = found[i].list;
        if (which->version.major == 3 && which->version.minor == 0) list_3_0 = which;
        if (which->version.major == 3 && which->version.minor == 2) list_3_2 = which;
    }
    report(list_3_0 && list_3_2, "3.0 and 3.2 are among them", 0);
    if (list_3_0) all_there("list of 3.0", list_3_0, FUNCTIONS_3_0, 3, 0);
    if (list_3_2) all_there("list of 3.2", list_3_2, FUNCTIONS_3_2, 3, 2);
    GOOD("C_GetInterface of nothing special", one(NULL, NULL, &interface, 0));
    report(interface && !strcmp((char *)interface->name, "PKCS 11"), "is a PKCS 11 interface", 0);
    CK_VERSION version = {2, 40}, strange = {7, 7};
    GOOD("C_GetInterface 2.40", one((CK_BYTE *)"PKCS 11", &version, &interface, 0));
    report(((CK_LIST *)interface->list)->version.minor == 40, "is 2.40", 0);
    at("C_GetInterface of strange things");
    report(one((CK_BYTE *)"PKCS 11", &strange, &interface, 0) != CKR_OK, "C_GetInterface 7.7", 0);
    report(one((CK_BYTE *)"Vendor NSS FIPS Interface", NULL, &interface, 0) != CKR_OK, "C_GetInterface of a vendor", 0);
    report(one((CK_BYTE *)"pkcs 11", NULL, &interface, 0) != CKR_OK, "names are compared exactly", 0);
    REFUSED("C_GetInterface without a place", one(NULL, NULL, NULL, 0), CKR_ARGUMENTS_BAD);
    report(one(NULL, NULL, &interface, 0x80) != CKR_OK, "C_GetInterface with flags nobody has", 0);
}

/* Functions that work without C_Initialize. */
static int always_works(int number) {
    return number == C_Initialize || number == C_GetFunctionList || number == C_GetInterfaceList || number == C_GetInterface;
}

static void not_initialized(const char *when) {
    CK_LIST *which = list_3_2 ? list_3_2 : list;
    int count = list_3_2 ? FUNCTIONS_3_2 : FUNCTIONS_2_40, good = 1;
    for (int i = 0; i < count; i++) {
        if (always_works(i) || (softhsm && (i == C_WaitForSlotEvent || i >= C_GetFunctionStatus))) continue;
        at(names[i]);
        CK_RV code = which->function[i](0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        if (code != CKR_CRYPTOKI_NOT_INITIALIZED) {
            printf("not ok %s %s: %#lx\n", names[i], when, code);
            good = 0;
        }
    }
    report(good, when, 0);
}

/* ---- initialising ---- */

static CK_RV create_mutex(void **mutex) {
    *mutex = malloc(sizeof(pthread_mutex_t));
    pthread_mutex_init(*mutex, NULL);
    return CKR_OK;
}
static CK_RV destroy_mutex(void *mutex) {
    free(mutex);
    return CKR_OK;
}
static CK_RV lock_mutex(void *mutex) {
    pthread_mutex_lock(mutex);
    return CKR_OK;
}
static CK_RV unlock_mutex(void *mutex) {
    pthread_mutex_unlock(mutex);
    return CKR_OK;
}

static void initialising(void) {
    CK_INITIALIZE_ARGS arguments = {0};
    GOOD("C_Initialize without arguments", CALL(C_Initialize, 0));
    REFUSED("C_Initialize twice", initialize(), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    REFUSED("C_Finalize with an argument", CALL(C_Finalize, P(&arguments)), CKR_ARGUMENTS_BAD);
    GOOD("C_Finalize", CALL(C_Finalize, 0));
    REFUSED("C_Finalize twice", CALL(C_Finalize, 0), CKR_CRYPTOKI_NOT_INITIALIZED);
    arguments.reserved = &arguments;
    if (!softhsm) {
        REFUSED("C_Initialize with a reserved argument", CALL(C_Initialize, P(&arguments)), CKR_ARGUMENTS_BAD);
        CALL(C_Finalize, 0);
    }
    arguments = (CK_INITIALIZE_ARGS){.create = create_mutex};
    REFUSED("C_Initialize with one callback of four", CALL(C_Initialize, P(&arguments)), CKR_ARGUMENTS_BAD);
    arguments = (CK_INITIALIZE_ARGS){.create = create_mutex, .destroy = destroy_mutex, .lock = lock_mutex, .flags = 2};
    REFUSED("C_Initialize with three callbacks", CALL(C_Initialize, P(&arguments)), CKR_ARGUMENTS_BAD);
    arguments = (CK_INITIALIZE_ARGS){create_mutex, destroy_mutex, lock_mutex, unlock_mutex, 0, NULL};
    at("C_Initialize with four callbacks and no locks of the system");
    CK_RV code = CALL(C_Initialize, P(&arguments));
    report(code == CKR_OK || code == CKR_CANT_LOCK, "C_Initialize with four callbacks and no locks of the system", code);
    CALL(C_Finalize, 0);
    arguments.flags = CKF_OS_LOCKING_OK;
    GOOD("C_Initialize with both", CALL(C_Initialize, P(&arguments)));
    CALL(C_Finalize, 0);
    arguments = (CK_INITIALIZE_ARGS){.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS};
    GOOD("C_Initialize, no threads of its own (as NSS)", CALL(C_Initialize, P(&arguments)));
    GOOD("C_Finalize", CALL(C_Finalize, 0));
    for (int i = 0; i < 20; i++)
        if (initialize() != CKR_OK || CALL(C_Finalize, 0) != CKR_OK) report(0, "twenty rounds", (CK_RV)i);
    report(1, "twenty rounds of C_Initialize and C_Finalize", 0);
}

/* ---- null pointers ---- */

/*
 * The arguments of each function: h a handle (of the session first), l a slot, f flags or another number, p a pointer, n a count or
 * length. C_Initialize, C_Finalize, C_WaitForSlotEvent and C_InitToken are left out by an empty shape.
 */
static const char *shapes[FUNCTIONS] = {
    [C_GetInfo] = "p", [C_GetFunctionList] = "p", [C_GetSlotList] = "fpp", [C_GetSlotInfo] = "lp", [C_GetTokenInfo] = "lp",
    [C_GetMechanismList] = "lpp", [C_GetMechanismInfo] = "lfp", [C_InitPIN] = "hpn", [C_SetPIN] = "hpnpn",
    [C_OpenSession] = "lfppp", [C_CloseSession] = "h", [C_CloseAllSessions] = "l", [C_GetSessionInfo] = "hp",
    [C_GetOperationState] = "hpp", [C_SetOperationState] = "hpnhh", [C_Login] = "hfpn", [C_Logout] = "h",
    [C_CreateObject] = "hpnp", [C_CopyObject] = "hhpnp", [C_DestroyObject] = "hh", [C_GetObjectSize] = "hhp",
    [C_GetAttributeValue] = "hhpn", [C_SetAttributeValue] = "hhpn", [C_FindObjectsInit] = "hpn", [C_FindObjects] = "hpnp",
    [C_FindObjectsFinal] = "h", [C_EncryptInit] = "hph", [C_Encrypt] = "hpnpp", [C_EncryptUpdate] = "hpnpp",
    [C_EncryptFinal] = "hpp", [C_DecryptInit] = "hph", [C_Decrypt] = "hpnpp", [C_DecryptUpdate] = "hpnpp",
    [C_DecryptFinal] = "hpp", [C_DigestInit] = "hp", [C_Digest] = "hpnpp", [C_DigestUpdate] = "hpn", [C_DigestKey] = "hh",
    [C_DigestFinal] = "hpp", [C_SignInit] = "hph", [C_Sign] = "hpnpp", [C_SignUpdate] = "hpn", [C_SignFinal] = "hpp",
    [C_SignRecoverInit] = "hph", [C_SignRecover] = "hpnpp", [C_VerifyInit] = "hph", [C_Verify] = "hpnpn",
    [C_VerifyUpdate] = "hpn", [C_VerifyFinal] = "hpn", [C_VerifyRecoverInit] = "hph", [C_VerifyRecover] = "hpnpp",
    [C_DigestEncryptUpdate] = "hpnpp", [C_DecryptDigestUpdate] = "hpnpp", [C_SignEncryptUpdate] = "hpnpp",
    [C_DecryptVerifyUpdate] = "hpnpp", [C_GenerateKey] = "hppnp", [C_GenerateKeyPair] = "hppnpnpp", [C_WrapKey] = "hphhpp",
    [C_UnwrapKey] = "hphpnpnp", [C_DeriveKey] = "hphpnp", [C_SeedRandom] = "hpn", [C_GenerateRandom] = "hpn",
    [C_GetFunctionStatus] = "h", [C_CancelFunction] = "h", [C_GetInterfaceList] = "pp", [C_GetInterface] = "pppf",
    [C_LoginUser] = "hfpnpn", [C_SessionCancel] = "hf", [C_MessageEncryptInit] = "hph", [C_EncryptMessage] = "hpnpnpnpp",
    [C_EncryptMessageBegin] = "hpnpn", [C_EncryptMessageNext] = "hpnpnppf", [C_MessageEncryptFinal] = "h",
    [C_MessageDecryptInit] = "hph", [C_DecryptMessage] = "hpnpnpnpp", [C_DecryptMessageBegin] = "hpnpn",
    [C_DecryptMessageNext] = "hpnpnppf", [C_MessageDecryptFinal] = "h", [C_MessageSignInit] = "hph",
    [C_SignMessage] = "hpnpnpp", [C_SignMessageBegin] = "hpn", [C_SignMessageNext] = "hpnpnpp", [C_MessageSignFinal] = "h",
    [C_MessageVerifyInit] = "hph", [C_VerifyMessage] = "hpnpnpn", [C_VerifyMessageBegin] = "hpn",
    [C_VerifyMessageNext] = "hpnpnpn", [C_MessageVerifyFinal] = "h", [C_EncapsulateKey] = "hphpnppp",
    [C_DecapsulateKey] = "hphpnpnp", [C_VerifySignatureInit] = "hphpn", [C_VerifySignature] = "hpn",
    [C_VerifySignatureUpdate] = "hpn", [C_VerifySignatureFinal] = "h", [C_GetSessionValidationFlags] = "hfp",
    [C_AsyncComplete] = "hpp", [C_AsyncGetID] = "hpp", [C_AsyncJoin] = "hpfpn", [C_WrapKeyAuthenticated] = "hphhpnpp",
    [C_UnwrapKeyAuthenticated] = "hphpnpnpnp",
};

/* Calls one function with null pointers for all pointers, and the given counts; handles and slots are real. */
static void call_with_nulls(const CK_LIST *which, int number, CK_ULONG session, CK_ULONG key, CK_ULONG length) {
    CK_ULONG a[12] = {0};
    for (int i = 0; shapes[number][i]; i++) {
        switch (shapes[number][i]) {
            case 'h': a[i] = i ? key : session; break;
            case 'l': a[i] = find_slot(); break;
            case 'n': a[i] = length; break;
            case 'f': a[i] = CKF_SERIAL_SESSION; break;
            default: a[i] = 0;
        }
    }
    which->function[number](a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]);
}

static void nulls(void) {
    CK_LIST *which = list_3_2 ? list_3_2 : list;
    int count = list_3_2 ? FUNCTIONS_3_2 : FUNCTIONS_2_40;
    for (int i = 0; i < count; i++) {
        if (!shapes[i] || softhsm) continue; /* SoftHSM crashes in some. */
        for (CK_ULONG length = 0; length <= 3; length += 3) {
            CK_ULONG session = open_session(), key = make_key(session);
            at(names[i]);
            call_with_nulls(which, i, session, key, length);
            call_with_nulls(which, i, 0, 0, length);
            CALL(C_CloseSession, session);
        }
    }
    report(1, "null pointers everywhere", 0);
    CK_ULONG session = open_session(), size = 0, key = 0;
    CK_MECHANISM mechanism = {CKM_SHA256, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_LABEL, NULL, 7}};
    REFUSED("C_GetInfo(NULL)", CALL(C_GetInfo, 0), CKR_ARGUMENTS_BAD);
    REFUSED("C_GetSlotInfo(NULL)", CALL(C_GetSlotInfo, find_slot(), 0), CKR_ARGUMENTS_BAD);
    REFUSED("C_GetTokenInfo(NULL)", CALL(C_GetTokenInfo, find_slot(), 0), CKR_ARGUMENTS_BAD);
    REFUSED("C_GetSessionInfo(NULL)", CALL(C_GetSessionInfo, session, 0), CKR_ARGUMENTS_BAD);
    REFUSED("C_OpenSession(NULL)", CALL(C_OpenSession, find_slot(), 6, 0, 0, 0), CKR_ARGUMENTS_BAD);
    REFUSED("C_CreateObject without template", CALL(C_CreateObject, session, 0, 3, P(&key)), CKR_ARGUMENTS_BAD);
    REFUSED("C_FindObjectsInit without template", CALL(C_FindObjectsInit, session, 0, 3), CKR_ARGUMENTS_BAD);
    if (!softhsm)
        REFUSED("an attribute without its value", CALL(C_CreateObject, session, P(template), 1, P(&key)), CKR_ARGUMENTS_BAD,
                CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCOMPLETE);
    GOOD("C_DigestInit", CALL(C_DigestInit, session, P(&mechanism)));
    if (!softhsm) {
        REFUSED("C_Digest without data", CALL(C_Digest, session, 0, 9, P(&key), P(&size)), CKR_ARGUMENTS_BAD);
        CALL(C_DigestInit, session, P(&mechanism));
    }
    REFUSED("C_Digest without length", CALL(C_Digest, session, P("x"), 1, P(&key), 0), CKR_ARGUMENTS_BAD);
    REFUSED("C_GenerateRandom(NULL, 8)", CALL(C_GenerateRandom, session, 0, 8), CKR_ARGUMENTS_BAD);
    CALL(C_CloseSession, session);
    session = 0;
    CALL(C_OpenSession, find_slot(), CKF_SERIAL_SESSION | CKF_RW_SESSION, 0, 0, P(&session));
    REFUSED("C_Login without PIN", CALL(C_Login, session, CKU_USER, 0, 8), CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT);
    CALL(C_CloseSession, session);
}

/* ---- unaligned memory ---- */

static void unaligned(void) {
    CK_ULONG session = open_session();
    static CK_BYTE memory[1024];
    CK_BYTE *odd = memory + 1;
    CK_ULONG class = CKO_SECRET_KEY, type = CKK_GENERIC_SECRET;
    CK_BYTE *numbers = memory + 801;
    memcpy(numbers, &class, sizeof class);
    memcpy(numbers + sizeof class, &type, sizeof type);
    CK_BYTE yes = 1, no = 0, value[32] = {7};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, numbers, sizeof class}, {CKA_KEY_TYPE, numbers + sizeof class, sizeof type},
        {CKA_TOKEN, &no, 1},                {CKA_PRIVATE, &yes, 1},
        {CKA_SIGN, &yes, 1},                {CKA_VALUE, value, sizeof value},
    };
    memcpy(odd, template, sizeof template);
    CK_BYTE *place = memory + 401;
    GOOD("an unaligned template and handle", CALL(C_CreateObject, session, P(odd), 6, P(place)));
    CK_ULONG key;
    memcpy(&key, place, sizeof key);
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    memcpy(odd, &mechanism, sizeof mechanism);
    GOOD("an unaligned mechanism", CALL(C_SignInit, session, P(odd), key));
    CK_BYTE *length = memory + 501, *mac = memory + 601;
    CK_ULONG room = 32;
    memcpy(length, &room, sizeof room);
    GOOD("an unaligned length", CALL(C_Sign, session, P("data"), 4, P(mac), P(length)));
    CK_ATTRIBUTE query = {CKA_CLASS, memory + 703, sizeof class};
    memcpy(odd, &query, sizeof query);
    GOOD("an unaligned query", CALL(C_GetAttributeValue, session, key, P(odd), 1));
    memcpy(&class, memory + 703, sizeof class);
    report(class == CKO_SECRET_KEY, "an unaligned answer", class);
    CK_BYTE *info = memory + 301;
    GOOD("an unaligned structure", CALL(C_GetSessionInfo, session, P(info)));
    CALL(C_CloseSession, session);
}

/* ---- huge numbers ---- */

static void huge(void) {
    if (softhsm) return; /* It believes them. */
    CK_ULONG session = open_session(), key = make_key(session), count, most = (CK_ULONG)-1;
    CK_ULONG found[4];
    CK_BYTE byte = 1, mac[64];
    CK_ATTRIBUTE attribute = {CKA_LABEL, &byte, most - 1}, good = {CKA_PRIVATE, &byte, 1};
    CK_ULONG sizes[] = {most, most / 2, (CK_ULONG)1 << 40, most / 24 + 2};
    for (int i = 0; i < 4; i++) {
        CK_ULONG n = sizes[i];
        REFUSED("a template of a huge count", CALL(C_CreateObject, session, P(&good), n, P(&key)), CKR_ARGUMENTS_BAD,
                CKR_HOST_MEMORY, CKR_TEMPLATE_INCONSISTENT);
        REFUSED("a search of a huge count", CALL(C_FindObjectsInit, session, P(&good), n), CKR_ARGUMENTS_BAD,
                CKR_HOST_MEMORY, CKR_TEMPLATE_INCONSISTENT);
        REFUSED("a query of a huge count", CALL(C_GetAttributeValue, session, key, P(&good), n), CKR_ARGUMENTS_BAD,
                CKR_HOST_MEMORY, CKR_TEMPLATE_INCONSISTENT);
        attribute.length = n - 1;
        REFUSED("an attribute of a huge length", CALL(C_CreateObject, session, P(&attribute), 1, P(&key)),
                CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCOMPLETE);
        CK_MECHANISM digest = {CKM_SHA256, NULL, 0}, cbc = {CKM_AES_CBC, &byte, n}, gcm = {CKM_AES_GCM, &byte, n};
        CALL(C_DigestInit, session, P(&digest));
        count = sizeof mac;
        REFUSED("data of a huge length", CALL(C_Digest, session, P(&byte), n, P(mac), P(&count)), CKR_ARGUMENTS_BAD,
                CKR_HOST_MEMORY, CKR_DATA_LEN_RANGE);
        CALL(C_DigestInit, session, 0); /* Cancels, if it is still there. */
        REFUSED("a PIN of a huge length", CALL(C_SetPIN, session, P(&byte), n, P(&byte), n), CKR_ARGUMENTS_BAD,
                CKR_PIN_LEN_RANGE, CKR_PIN_INVALID, CKR_PIN_INCORRECT);
        CK_ULONG aes = 0;
        REFUSED("a parameter of a huge length", CALL(C_EncryptInit, session, P(&cbc), aes), CKR_ARGUMENTS_BAD,
                CKR_MECHANISM_PARAM_INVALID, 0x60 /* the key is none */, 0x82);
        REFUSED("a structure of a huge length", CALL(C_EncryptInit, session, P(&gcm), aes), CKR_ARGUMENTS_BAD,
                CKR_MECHANISM_PARAM_INVALID, 0x60, 0x82);
        REFUSED("seed of a huge length", CALL(C_SeedRandom, session, P(&byte), n), CKR_ARGUMENTS_BAD, CKR_DATA_LEN_RANGE,
                0x120, CKR_HOST_MEMORY);
    }
    key = make_key(session);
    GOOD("C_FindObjectsInit", CALL(C_FindObjectsInit, session, 0, 0));
    REFUSED("room for more handles than memory", CALL(C_FindObjects, session, P(found), most, P(&count)), CKR_OK,
            CKR_ARGUMENTS_BAD);
    CALL(C_FindObjectsFinal, session);
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CALL(C_SignInit, session, P(&mechanism), key);
    count = most;
    GOOD("room for a signature larger than memory", CALL(C_Sign, session, P("data"), 4, P(mac), P(&count)));
    report(count == 32, "and the length that was needed", count);
    /* Inner lengths and pointers of parameters. */
    struct {
        CK_BYTE *iv;
        CK_ULONG iv_length, iv_bits;
        CK_BYTE *aad;
        CK_ULONG aad_length, tag_bits;
    } gcm = {&byte, most, most, &byte, most, 128};
    CK_MECHANISM lying = {CKM_AES_GCM, &gcm, sizeof gcm};
    REFUSED("lengths inside a parameter", CALL(C_EncryptInit, session, P(&lying), key), CKR_ARGUMENTS_BAD,
            CKR_MECHANISM_PARAM_INVALID, CKR_HOST_MEMORY, 0x63);
    gcm.iv = NULL;
    gcm.iv_length = 12;
    gcm.aad_length = 0;
    REFUSED("null pointers inside a parameter", CALL(C_EncryptInit, session, P(&lying), key), CKR_ARGUMENTS_BAD,
            CKR_MECHANISM_PARAM_INVALID, 0x63);
    CALL(C_CloseSession, session);
}

/* ---- nested templates ---- */

static void nested(void) {
    if (softhsm) return;
    CK_ULONG session = open_session(), class = CKO_SECRET_KEY, type = CKK_AES, key = 0;
    CK_BYTE yes = 1, no = 0, value[32] = {9};
    CK_ATTRIBUTE inner[3] = {{CKA_SIGN, &yes, 1}, {CKA_LABEL, "inner", 5}, {0, NULL, 0}};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_TOKEN, &no, 1},
        {CKA_UNWRAP, &yes, 1},             {CKA_VALUE, value, sizeof value},   {CKA_UNWRAP_TEMPLATE, inner, sizeof inner[0] * 2},
    };
    GOOD("a nested template", CALL(C_CreateObject, session, P(template), 6, P(&key)));
    CK_ATTRIBUTE query = {CKA_UNWRAP_TEMPLATE, NULL, 0};
    GOOD("the length of a nested template", CALL(C_GetAttributeValue, session, key, P(&query), 1));
    report(query.length == 2 * sizeof inner[0], "is that of two attributes", query.length);
    CK_ATTRIBUTE out[2] = {{0, NULL, 0}, {0, NULL, 0}};
    query.value = out;
    GOOD("the lengths within", CALL(C_GetAttributeValue, session, key, P(&query), 1));
    report(out[0].length + out[1].length == 6, "are those of both values", out[0].length + out[1].length);
    query.value = out;
    query.length = sizeof out[0];
    REFUSED("room for one of two", CALL(C_GetAttributeValue, session, key, P(&query), 1), CKR_BUFFER_TOO_SMALL);
    template[5].length = sizeof inner[0] * 2 - 3;
    REFUSED("a nested template and a half", CALL(C_CreateObject, session, P(template), 6, P(&key)),
            CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD, CKR_TEMPLATE_INCONSISTENT);
    inner[2] = (CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, inner, sizeof inner};
    template[5].length = sizeof inner;
    REFUSED("a template within itself", CALL(C_CreateObject, session, P(template), 6, P(&key)),
            CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID);
    template[5].length = (CK_ULONG)-24;
    REFUSED("a nested template of a huge length", CALL(C_CreateObject, session, P(template), 6, P(&key)),
            CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD, CKR_TEMPLATE_INCONSISTENT, CKR_HOST_MEMORY);
    template[5] = (CK_ATTRIBUTE){CKA_UNWRAP_TEMPLATE, NULL, 48};
    REFUSED("a nested template nowhere", CALL(C_CreateObject, session, P(template), 6, P(&key)),
            CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD, CKR_TEMPLATE_INCONSISTENT);
    CALL(C_CloseSession, session);
}

/* ---- short buffers ---- */

static void short_buffers(void) {
    CK_ULONG session = open_session(), key = make_key(session), length;
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32];
    GOOD("C_SignInit", CALL(C_SignInit, session, P(&mechanism), key));
    length = 31;
    memset(mac, 0x5a, sizeof mac);
    REFUSED("a byte short", CALL(C_Sign, session, P("data"), 4, P(mac), P(&length)), CKR_BUFFER_TOO_SMALL);
    report(length == 32, "the length is told", length);
    report(mac[0] == 0x5a && mac[30] == 0x5a, "nothing is written", mac[0]);
    length = 0;
    GOOD("a null buffer", CALL(C_Sign, session, P("data"), 4, 0, P(&length)));
    report(length == 32, "the length is told", length);
    GOOD("room enough", CALL(C_Sign, session, P("data"), 4, P(mac), P(&length)));
    REFUSED("once more", CALL(C_Sign, session, P("data"), 4, P(mac), P(&length)), CKR_OPERATION_NOT_INITIALIZED);
    CK_ULONG slot = find_slot(), count = 0, list_of[1];
    GOOD("mechanisms, count", CALL(C_GetMechanismList, slot, 0, P(&count)));
    CK_ULONG one = 1;
    REFUSED("mechanisms, short", CALL(C_GetMechanismList, slot, P(list_of), P(&one)), CKR_BUFFER_TOO_SMALL);
    report(one == count, "the count is told", one);
    CALL(C_CloseSession, session);
}

/* ---- threads ---- */

enum { THREADS = 64, ROUNDS = 40 };
static CK_ULONG shared_key;
static CK_BYTE expected[32];

static void *signer(void *unused) {
    (void)unused;
    CK_ULONG session = 0;
    if (CALL(C_OpenSession, find_slot(), CKF_SERIAL_SESSION, 0, 0, P(&session)) != CKR_OK) return (void *)1;
    for (int i = 0; i < ROUNDS; i++) {
        CK_BYTE mac[32] = {0};
        if (sign(session, shared_key, mac) != CKR_OK || memcmp(mac, expected, 32)) return (void *)2;
    }
    return CALL(C_CloseSession, session) == CKR_OK ? NULL : (void *)3;
}

static void threads(void) {
    CK_ULONG session = open_session();
    shared_key = make_key(session);
    GOOD("one signature", sign(session, shared_key, expected));
    pthread_t thread[THREADS];
    void *failed = NULL;
    at("64 threads");
    for (int i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, signer, NULL);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(thread[i], &result);
        if (result) failed = result;
    }
    report(!failed, "64 threads sign at once", P(failed));
    CALL(C_CloseSession, session);
}

/* ---- events ---- */

static CK_RV waited;
static void *waiter(void *unused) {
    (void)unused;
    CK_ULONG slot = 0;
    do waited = CALL(C_WaitForSlotEvent, 0, P(&slot), 0);
    while (waited == CKR_OK); /* An event that was waiting: the token that was made before. */
    return NULL;
}

static void events(void) {
    if (softhsm) return;
    CK_ULONG slot = 0;
    CK_RV code;
    for (int i = 0; i < 8 && (code = CALL(C_WaitForSlotEvent, CKF_DONT_BLOCK, P(&slot), 0)) == CKR_OK; i++) {}
    report(code == CKR_NO_EVENT, "no event", code);
    REFUSED("an event without a place", CALL(C_WaitForSlotEvent, CKF_DONT_BLOCK, 0, 0), CKR_ARGUMENTS_BAD);
    REFUSED("an event with something reserved", CALL(C_WaitForSlotEvent, CKF_DONT_BLOCK, P(&slot), P(&slot)),
            CKR_ARGUMENTS_BAD);
    pthread_t thread;
    pthread_create(&thread, NULL, waiter, NULL);
    struct timespec pause = {0, 50 * 1000 * 1000};
    nanosleep(&pause, NULL);
    GOOD("C_Finalize while another thread waits", CALL(C_Finalize, 0));
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    int late = pthread_timedjoin_np(thread, NULL, &deadline);
    report(!late, "the waiting thread came back", (CK_RV)late);
    if (!late) report(waited == CKR_CRYPTOKI_NOT_INITIALIZED, "with CKR_CRYPTOKI_NOT_INITIALIZED", waited);
    GOOD("C_Initialize again", initialize());
}

/* ---- fork ---- */

static int ended_well(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void forking(void) {
    CK_ULONG session = open_session(), key = make_key(session);
    CK_BYTE before[32], after[32];
    GOOD("the parent signs", sign(session, key, before));
    fflush(stdout);
    pid_t child = fork();
    if (!child) _exit(0);
    report(ended_well(child) == 0, "a child that does nothing", 0);
    GOOD("the parent still signs", sign(session, key, after));
    if (!softhsm) {
        fflush(stdout);
        child = fork();
        if (!child) {
            CK_BYTE info[128];
            CK_RV code = CALL(C_GetInfo, P(info));
            if (code != CKR_CRYPTOKI_NOT_INITIALIZED) _exit(1);
            code = CALL(C_GetSessionInfo, session, P(info));
            _exit(code == CKR_CRYPTOKI_NOT_INITIALIZED ? 0 : 2);
        }
        int status = ended_well(child);
        report(status == 0, "a child that does not initialise is told so", (CK_RV)status);
    }
    fflush(stdout);
    child = fork();
    if (!child) {
        CK_BYTE info[128], mac[32];
        if (softhsm) CALL(C_Finalize, 0);
        CK_RV code = initialize();
        if (code != CKR_OK && code != CKR_CRYPTOKI_ALREADY_INITIALIZED) _exit(3);
        if (CALL(C_GetSessionInfo, session, P(info)) != CKR_SESSION_HANDLE_INVALID) _exit(4);
        CK_ULONG own = open_session();
        if (!own || sign(own, make_key(own), mac) != CKR_OK || memcmp(mac, before, 32)) _exit(5);
        if (CALL(C_Finalize, 0) != CKR_OK) _exit(6);
        _exit(0);
    }
    int status = ended_well(child);
    report(status == 0, "a child that initialises works on its own", (CK_RV)status);
    GOOD("the parent signs after its child has ended", sign(session, key, after));
    report(!memcmp(before, after, 32), "the same signature", 0);
    if (softhsm) return; /* Its token directory cannot be read by several at once. */
    at("eight children at once");
    pid_t children[8];
    fflush(stdout);
    for (int i = 0; i < 8; i++) {
        children[i] = fork();
        if (!children[i]) {
            CK_BYTE mac[32];
            initialize();
            CK_ULONG own = open_session(), own_key = make_key(own);
            for (int round = 0; round < 20; round++)
                if (sign(own, own_key, mac) != CKR_OK || memcmp(mac, before, 32)) _exit(7);
            _exit(0); /* Without C_Finalize, as servers do. */
        }
        for (int round = 0; round < 5; round++)
            if (sign(session, key, after) != CKR_OK || memcmp(before, after, 32)) report(0, "the parent meanwhile", 0);
    }
    int failed = 0;
    for (int i = 0; i < 8; i++) failed |= ended_well(children[i]);
    report(!failed, "eight children at once", (CK_RV)failed);
    CALL(C_CloseSession, session);
}

/* ---- unloading ---- */

static void unloading(void) {
    GOOD("C_Finalize before unloading", CALL(C_Finalize, 0));
    for (int i = 0; i < 5; i++) {
        at("dlclose");
        dlclose(library);
        load();
        if (initialize() != CKR_OK) report(0, "initialising after loading again", (CK_RV)i);
        CK_ULONG session = open_session();
        CK_BYTE mac[32];
        CK_RV code = sign(session, make_key(session), mac);
        if (code != CKR_OK) report(0, "signing after loading again", code);
        CALL(C_Finalize, 0);
    }
    report(1, "five rounds of unloading and loading", 0);
    if (softhsm) return;
    GOOD("C_Initialize", initialize());
    open_session();
    at("dlclose without C_Finalize");
    dlclose(library);
    load();
    CK_RV code = initialize();
    report(code == CKR_OK || code == CKR_CRYPTOKI_ALREADY_INITIALIZED, "after dlclose without C_Finalize", code);
    open_session();
    /* The program ends without C_Finalize, as many do. */
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    module_path = arguments[1];
    label = arguments[2];
    pin = arguments[3];
    softhsm = count > 4;
    load();
    interfaces();
    not_initialized("before C_Initialize");
    initialising();
    not_initialized("after C_Finalize");
    GOOD("C_Initialize", initialize());
    nulls();
    unaligned();
    short_buffers();
    huge();
    nested();
    threads();
    forking();
    events();
    unloading();
    printf("done\n");
    return 0;
}
