/* Signs a text with a key of a token, and verifies the signature, by nothing but PKCS#11.
 *
 *   cc -I/usr/include/p11-kit-1 -o sign examples/sign.c -ldl
 *   ./sign MODULE TOKEN-LABEL KEY-LABEL        the PIN is read from the variable PIN
 *
 * Any PKCS#11 module will do; the key is on the curve P-256. The header is that of Debian's libp11-kit-dev.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

static CK_FUNCTION_LIST *p11;

static void check(CK_RV rv, const char *what)
{
    if (rv != CKR_OK) {
        fprintf(stderr, "sign: %s: error 0x%lx\n", what, rv);
        exit(1);
    }
}

static CK_SLOT_ID slot_of(const char *label)
{
    CK_SLOT_ID slots[64];
    CK_ULONG count = sizeof slots / sizeof *slots;
    check(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        check(p11->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
        /* Labels are padded with blanks and have no final zero. */
        char padded[sizeof info.label + 1];
        snprintf(padded, sizeof padded, "%-32s", label);
        if (memcmp(padded, info.label, sizeof info.label) == 0)
            return slots[i];
    }
    fprintf(stderr, "sign: there is no token \"%s\"\n", label);
    exit(1);
}

static CK_OBJECT_HANDLE key_of(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, char *label)
{
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof class },
        { CKA_LABEL, label, strlen(label) },
    };
    CK_OBJECT_HANDLE key;
    CK_ULONG found;
    check(p11->C_FindObjectsInit(session, template, 2), "C_FindObjectsInit");
    check(p11->C_FindObjects(session, &key, 1, &found), "C_FindObjects");
    check(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    if (found == 0) {
        fprintf(stderr, "sign: there is no key \"%s\"\n", label);
        exit(1);
    }
    return key;
}

int main(int argc, char **argv)
{
    char *pin = getenv("PIN");
    if (argc != 4 || pin == NULL) {
        fprintf(stderr, "usage: PIN=... sign MODULE TOKEN-LABEL KEY-LABEL\n");
        return 2;
    }
    void *module = dlopen(argv[1], RTLD_NOW);
    if (module == NULL) {
        fprintf(stderr, "sign: %s\n", dlerror());
        return 1;
    }
    CK_C_GetFunctionList list = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
    if (list == NULL) {
        fprintf(stderr, "sign: %s is no PKCS#11 module\n", argv[1]);
        return 1;
    }
    check(list(&p11), "C_GetFunctionList");
    check(p11->C_Initialize(NULL), "C_Initialize");

    CK_SESSION_HANDLE session;
    check(p11->C_OpenSession(slot_of(argv[2]), CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
    check(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");

    CK_BYTE text[] = "signed by a key that nobody has seen";
    CK_BYTE signature[64];
    CK_ULONG length = sizeof signature;
    CK_MECHANISM mechanism = { CKM_ECDSA_SHA256, NULL, 0 };

    check(p11->C_SignInit(session, &mechanism, key_of(session, CKO_PRIVATE_KEY, argv[3])), "C_SignInit");
    check(p11->C_Sign(session, text, sizeof text - 1, signature, &length), "C_Sign");
    for (CK_ULONG i = 0; i < length; i++)
        printf("%02x", signature[i]);
    printf("\n");

    check(p11->C_VerifyInit(session, &mechanism, key_of(session, CKO_PUBLIC_KEY, argv[3])), "C_VerifyInit");
    check(p11->C_Verify(session, text, sizeof text - 1, signature, length), "C_Verify");
    printf("the signature is right\n");

    check(p11->C_Finalize(NULL), "C_Finalize");
    return 0;
}
