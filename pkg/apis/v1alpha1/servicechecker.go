package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ServiceChecker watches whether Services can serve, and reports it in its status. It names Services
// of its own namespace; naming others requires the controller's flag --checkers-across-namespaces.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=schk
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`,description="Whether no critical service counts as down"
// +kubebuilder:printcolumn:name="Degraded",type=string,JSONPath=`.status.conditions[?(@.type=="Degraded")].status`,description="Whether any service counts as down"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.readyServices`,description="Ready services out of all"
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Degraded")].message`,description="Services that are down"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ServiceChecker struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ServiceCheckerSpec `json:"spec"`
	// +optional
	Status ServiceCheckerStatus `json:"status,omitempty"`
}

// ServiceCheckerSpec lists the Services to watch, and says how long one must be down or back before
// it counts.
type ServiceCheckerSpec struct {
	// Services to watch, 1 to 100, each listed once.
	//
	// +required
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Services []CheckedService `json:"services"`

	// For is how long a service must be down without interruption before it counts as down: 0s
	// (immediately) to 24h, such as 500ms, 10s or 1m30s. 10s if absent.
	//
	// +optional
	// +kubebuilder:default="10s"
	For *Duration `json:"for,omitempty"`

	// RecoverFor is how long a service that counts as down must be ready without interruption before
	// it counts as up again: 0s (immediately) to 24h. 10s if absent.
	//
	// +optional
	// +kubebuilder:default="10s"
	RecoverFor *Duration `json:"recoverFor,omitempty"`
}

// Duration is a time span in Go's notation: numbers with a unit of ms, s, m or h.
//
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('24h')",message="must be a duration of 0s to 24h, such as 500ms, 10s or 1m30s"
type Duration struct {
	metav1.Duration `json:",inline"`
}

// CheckedService is a Service that a checker watches.
type CheckedService struct {
	// Name of the Service.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// Namespace of the Service; the checker's own if empty. Any other requires the controller's flag
	// --checkers-across-namespaces.
	//
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	Namespace string `json:"namespace,omitempty"`

	// Critical makes the checker unavailable while this service counts as down. Otherwise the
	// checker is only degraded.
	//
	// +optional
	// +kubebuilder:default=false
	Critical bool `json:"critical,omitempty"`

	// Port of the Service whose endpoints count, by number (1 to 65535) or name. If absent, an
	// endpoint that is ready on any port counts.
	//
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 65535 : self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the number of a port, 1 to 65535, or the name of one"
	Port *intstr.IntOrString `json:"port,omitempty"`

	// MinReady is how many endpoints must be ready for the service to be ready: 1 to 1000. 1 if
	// absent.
	//
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MinReady int32 `json:"minReady,omitempty"`
}

// Types of conditions of a ServiceChecker.
const (
	// Available is True while no critical service counts as down, False while one does, and Unknown
	// if the state of one is unknown.
	Available = "Available"
	// Degraded is True while any service, critical or not, counts as down or cannot be watched;
	// False if none does, and Unknown if the state of one is unknown.
	Degraded = "Degraded"
)

// Reasons of conditions.
const (
	// AllUp: nothing counts as down.
	AllUp = "AllUp"
	// CriticalServiceDown: the critical service that the message names counts as down.
	CriticalServiceDown = "CriticalServiceDown"
	// ServiceDown: the service that the message names counts as down.
	ServiceDown = "ServiceDown"
	// InvalidService: an entry of spec.services cannot be watched; the message says why.
	InvalidService = "InvalidService"
	// NotKnown: the state of a service is unknown, such as right after it was added, or while the
	// API server cannot be reached.
	NotKnown = "NotKnown"
)

// ServiceState is what a service counts as, after spec.for and spec.recoverFor.
//
// +kubebuilder:validation:Enum=Up;Down;Unknown
type ServiceState string

// States of a service.
const (
	// Up: it is ready, or has not been down for spec.for yet. A service that cannot be judged by its
	// endpoints counts as up, and the message says why.
	Up ServiceState = "Up"
	// Down: it has been down for spec.for, and has not been ready for spec.recoverFor since.
	Down ServiceState = "Down"
	// Unknown: it was never known, or is not known any more. maintenance/auto keeps the previous
	// state.
	Unknown ServiceState = "Unknown"
)

// ServiceCheckerStatus is what the controller observes. It is written at most once a second, and
// only when it changes.
type ServiceCheckerStatus struct {
	// ObservedGeneration is the metadata.generation of the spec that the status describes.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// ReadyServices counts the ready services out of all, such as 2/3.
	//
	// +optional
	ReadyServices string `json:"readyServices,omitempty"`

	// Services in the order of the spec.
	//
	// +optional
	// +listType=atomic
	Services []ServiceStatus `json:"services,omitempty"`

	// Conditions are Available and Degraded.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ServiceStatus is what is observed of one service.
type ServiceStatus struct {
	// Name of the Service.
	//
	// +required
	Name string `json:"name"`

	// Namespace of the Service.
	//
	// +required
	Namespace string `json:"namespace"`

	// Port, if the spec names one.
	//
	// +optional
	// +kubebuilder:validation:XIntOrString
	Port *intstr.IntOrString `json:"port,omitempty"`

	// Ready is true while at least minReady endpoints are ready. With a minReady of 1 it is also
	// true while none is ready but terminating endpoints still serve, because proxies then use
	// these. While the state is unknown, it keeps its last value.
	//
	// +required
	Ready bool `json:"ready"`

	// ReadyEndpoints counts the ready endpoints, each Pod once.
	//
	// +required
	ReadyEndpoints int32 `json:"readyEndpoints"`

	// State is what the service counts as, after spec.for and spec.recoverFor.
	//
	// +required
	State ServiceState `json:"state"`

	// Since is when ready last changed, as far as is known.
	//
	// +required
	Since metav1.Time `json:"since"`

	// Message says why the service is not ready or cannot be judged. Empty if there is nothing to
	// report.
	//
	// +optional
	Message string `json:"message,omitempty"`
}

// ServiceCheckerList is a list of ServiceCheckers.
//
// +kubebuilder:object:root=true
type ServiceCheckerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// Items are the ServiceCheckers, in no particular order.
	Items []ServiceChecker `json:"items"`
}
