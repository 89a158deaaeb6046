package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/services/ingest"
)

// dicomFlags configure the door by which cameras send: DICOM C-STORE.
type dicomFlags struct {
	DICOMListen             string            `name:"dicom-listen" help:"Address at which cameras send by DICOM (C-STORE), e.g. 0.0.0.0:11112; without it there is none." env:"NOCTUA_DICOM_LISTEN" placeholder:"ADDRESS"`
	DICOMTitle              string            `name:"dicom-title" help:"AE title by which cameras call Noctua." default:"NOCTUA" env:"NOCTUA_DICOM_TITLE"`
	DICOMAE                 map[string]string `name:"dicom-ae" help:"AE title of a camera or archive and the clinic that it sends for; repeat it for each. Others are refused." env:"NOCTUA_DICOM_AE" placeholder:"TITLE=CLINIC"`
	DICOMTLSCert            string            `name:"dicom-tls-cert" help:"File with the certificate (PEM); with it, DICOM is spoken over TLS alone." env:"NOCTUA_DICOM_TLS_CERT" placeholder:"FILE"`
	DICOMTLSKey             string            `name:"dicom-tls-key" help:"File with the certificate's private key (PEM)." env:"NOCTUA_DICOM_TLS_KEY" placeholder:"FILE"`
	DICOMTLSClientCA        string            `name:"dicom-tls-client-ca" help:"File with the authorities (PEM) by which cameras' own certificates must be signed; without it they need none." env:"NOCTUA_DICOM_TLS_CLIENT_CA" placeholder:"FILE"`
	DICOMInsecure           bool              `name:"dicom-insecure" help:"Allow DICOM beyond this machine without TLS, as most cameras need it; only on a network of their own." env:"NOCTUA_DICOM_INSECURE"`
	DICOMAssociations       int               `name:"dicom-associations" help:"Associations open at once." default:"64" env:"NOCTUA_DICOM_ASSOCIATIONS"`
	DICOMClinicAssociations int               `name:"dicom-clinic-associations" help:"Associations open at once of one clinic." default:"16" env:"NOCTUA_DICOM_CLINIC_ASSOCIATIONS"`
}

func (f dicomFlags) receiver() ingest.ReceiverConfig {
	return ingest.ReceiverConfig{
		Title: f.DICOMTitle, Clinics: f.DICOMAE, MaxAssociations: f.DICOMAssociations, MaxClinicAssociations: f.DICOMClinicAssociations,
	}
}

// listen opens the door's listener; nil if there is to be none. Whatever is wrong with the door's flags is found here, before
// anything is started.
func (f *dicomFlags) listen(ctx context.Context) (net.Listener, error) {
	if f.DICOMListen == "" {
		if len(f.DICOMAE) > 0 || f.DICOMTLSCert != "" {
			return nil, usageError{errors.New("--dicom-ae and --dicom-tls-cert have no effect without --dicom-listen; add it, e.g. --dicom-listen 127.0.0.1:11112")}
		}
		return nil, nil // no door is no error
	}
	if err := f.receiver().Validate(); err != nil {
		return nil, usageError{fmt.Errorf("%w; see --dicom-ae and --dicom-title", err)}
	}
	config, err := f.tls()
	if err != nil {
		return nil, err
	}
	if err := checkListen("dicom-listen", f.DICOMListen, "dicom-tls-cert", config != nil, "dicom-insecure", f.DICOMInsecure); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.DICOMListen)
	if err != nil {
		return nil, fault.Wrap(fault.Conflict, "address-in-use", err, "cannot listen on %s; choose another address with --dicom-listen", f.DICOMListen)
	}
	f.DICOMListen = listener.Addr().String() // port 0 is a free one now
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	return listener, nil
}

// closeListener closes a listener whose service may have closed it already.
func closeListener(l net.Listener) {
	if l != nil {
		_ = l.Close() // nothing is lost with a listener
	}
}

// tls reads certificates; nil if DICOM is to be spoken in the clear.
func (f *dicomFlags) tls() (*tls.Config, error) {
	if f.DICOMTLSCert == "" && f.DICOMTLSKey == "" && f.DICOMTLSClientCA == "" {
		return nil, nil // no TLS is no error
	}
	if f.DICOMTLSCert == "" || f.DICOMTLSKey == "" {
		return nil, usageError{errors.New("TLS for DICOM needs both --dicom-tls-cert and --dicom-tls-key")}
	}
	pair, err := tls.LoadX509KeyPair(f.DICOMTLSCert, f.DICOMTLSKey)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "certificate-unusable", err, "the certificate or key of --dicom-tls-cert and --dicom-tls-key cannot be used; both should be PEM files and belong together")
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if f.DICOMTLSClientCA == "" {
		return config, nil
	}
	authorities, err := os.ReadFile(f.DICOMTLSClientCA)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, "certificate-unusable", err, "the file of --dicom-tls-client-ca cannot be read")
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, fault.New(fault.Invalid, "certificate-unusable", "the file of --dicom-tls-client-ca holds no certificate in PEM")
	}
	return config, nil
}

// announcement tells people how cameras reach the door; "" where there is none.
func (f *dicomFlags) announcement() string {
	if f.DICOMListen == "" {
		return ""
	}
	senders := strings.Join(slices.Sorted(maps.Keys(f.DICOMAE)), ", ")
	return fmt.Sprintf("  DICOM         AE title %s at %s, from %s\n", f.DICOMTitle, f.DICOMListen, senders)
}
