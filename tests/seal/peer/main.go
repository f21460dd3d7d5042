// Seals and unseals as upstream does: JSON lines in, JSON lines out.
package main

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"time"

	"github.com/bitnami/sealed-secrets/pkg/apis/sealedsecrets/v1alpha1"
	"github.com/bitnami/sealed-secrets/pkg/crypto"
)

type job struct {
	Op, Scope, Namespace, Name, Data string
}

type answer struct {
	Data  string `json:"data"`
	Error string `json:"error,omitempty"`
}

func main() {
	if os.Args[1] == "cert" {
		made()
		return
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	keys := map[string]*rsa.PrivateKey{"one": key}
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	buffer := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer buffer.Flush()
	out := json.NewEncoder(buffer)
	for in.More() {
		var one job
		if err := in.Decode(&one); err != nil {
			panic(err)
		}
		_ = out.Encode(do(one, keys, &key.PublicKey))
	}
}

// made prints a certificate as the controller makes it, and its key.
func made() {
	key, cert, err := crypto.GeneratePrivateKeyAndCert(2048, time.Hour, "")
	if err != nil {
		panic(err)
	}
	_ = pem.Encode(os.Stdout, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	private := x509.MarshalPKCS1PrivateKey(key)
	_ = pem.Encode(os.Stdout, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: private})
}

func do(one job, keys map[string]*rsa.PrivateKey, public *rsa.PublicKey) answer {
	var scope v1alpha1.SealingScope
	if err := scope.Set(one.Scope); err != nil {
		return answer{Error: err.Error()}
	}
	label := v1alpha1.EncryptionLabel(one.Namespace, one.Name, scope)
	data, err := base64.StdEncoding.DecodeString(one.Data)
	if err != nil {
		return answer{Error: err.Error()}
	}
	if one.Op == "seal" {
		data, err = crypto.HybridEncrypt(rand.Reader, public, data, label)
	} else {
		data, err = crypto.HybridDecrypt(rand.Reader, keys, data, label)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Data: base64.StdEncoding.EncodeToString(data)}
}
