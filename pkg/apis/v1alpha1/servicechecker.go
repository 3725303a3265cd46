package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ServiceChecker watches whether Services can serve, and says so in its status. It stays in
// its namespace: Services of others may be named only where the controller's flag
// --checkers-across-namespaces allows it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=schk
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`,description="Whether all critical services count as up"
// +kubebuilder:printcolumn:name="Degraded",type=string,JSONPath=`.status.conditions[?(@.type=="Degraded")].status`,description="Whether any service counts as down"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.readyServices`,description="Services that are ready, of all"
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Degraded")].message`,description="What is down"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ServiceChecker struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ServiceCheckerSpec `json:"spec"`
	// +optional
	Status ServiceCheckerStatus `json:"status,omitempty"`
}

// ServiceCheckerSpec says which Services to watch, and how long one must be down or back
// before it counts.
type ServiceCheckerSpec struct {
	// Services that are watched, 1 to 100, each named once.
	//
	// +required
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Services []CheckedService `json:"services"`

	// For is how long a service must be down without a break before it counts as down: 0s
	// (at once) to 24h, such as 500ms, 10s or 1m30s.
	//
	// +optional
	// +kubebuilder:default="10s"
	For *Duration `json:"for,omitempty"`

	// RecoverFor is how long a service that counts as down must be back without a break before it
	// counts as up again: 0s (at once) to 24h.
	//
	// +optional
	// +kubebuilder:default="10s"
	RecoverFor *Duration `json:"recoverFor,omitempty"`
}

// Duration is a time as Go writes it: numbers with a unit of ms, s, m or h.
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

	// Namespace of the Service; the checker's own if empty. Another one needs the
	// controller's flag --checkers-across-namespaces.
	//
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	Namespace string `json:"namespace,omitempty"`

	// Critical says that the checker is not available while this service counts as down.
	// Otherwise it is degraded only.
	//
	// +optional
	// +kubebuilder:default=false
	Critical bool `json:"critical,omitempty"`

	// Port of the Service, by number (1 to 65535) or name, whose endpoints count. If absent,
	// an endpoint counts that is ready on any port.
	//
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 65535 : self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be the number of a port, 1 to 65535, or the name of one"
	Port *intstr.IntOrString `json:"port,omitempty"`

	// MinReady is how many endpoints must be ready for the service to be: 1 to 1000.
	//
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MinReady int32 `json:"minReady,omitempty"`
}

// Types of conditions of a ServiceChecker.
const (
	// Available is True while no critical service counts as down, False while any does,
	// and Unknown if that of one is not known.
	Available = "Available"
	// Degraded is True while any service counts as down, critical or not, or cannot be
	// watched as asked for; False if none does, and Unknown if that of one is not known.
	Degraded = "Degraded"
)

// Reasons of conditions.
const (
	// AllUp: nothing counts as down.
	AllUp = "AllUp"
	// CriticalServiceDown: a critical service counts as down, which the message names.
	CriticalServiceDown = "CriticalServiceDown"
	// ServiceDown: a service counts as down, which the message names.
	ServiceDown = "ServiceDown"
	// InvalidService: an entry of spec.services cannot be watched; the message says why.
	InvalidService = "InvalidService"
	// NotKnown: of a service it is not known whether it is up, such as right after it was
	// named, or while the API server cannot be reached.
	NotKnown = "NotKnown"
)

// ServiceState is what a service counts as, after spec.for and spec.recoverFor.
//
// +kubebuilder:validation:Enum=Up;Down;Unknown
type ServiceState string

// States of a service.
const (
	// Up: it is ready, or has not been down for spec.for yet. What cannot be judged by its
	// endpoints counts as up, and the message says why.
	Up ServiceState = "Up"
	// Down: it has been down for spec.for, and has not been back for spec.recoverFor yet.
	Down ServiceState = "Down"
	// Unknown: it was never known, or is not known any more. What counted before goes on
	// to count for maintenance/auto.
	Unknown ServiceState = "Unknown"
)

// ServiceCheckerStatus is what the controller sees. It is written at most once a second, and
// only when it changes.
type ServiceCheckerStatus struct {
	// ObservedGeneration is the metadata.generation of the spec that this is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// ReadyServices is how many services are ready, of how many: 2/3.
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

// ServiceStatus is what is seen of one service.
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

	// Ready says whether minReady endpoints are ready right now; with a minReady of 1 also
	// while none is and terminating ones serve still, as proxies then use these. While it
	// is not known, it is what was known last.
	//
	// +required
	Ready bool `json:"ready"`

	// ReadyEndpoints counts the endpoints that are ready, each Pod once.
	//
	// +required
	ReadyEndpoints int32 `json:"readyEndpoints"`

	// State is what the service counts as.
	//
	// +required
	State ServiceState `json:"state"`

	// Since is when ready last changed, as far as is known.
	//
	// +required
	Since metav1.Time `json:"since"`

	// Message says why the service is not ready, or cannot be judged. Empty if there is
	// nothing to say.
	//
	// +optional
	Message string `json:"message,omitempty"`
}

// ServiceCheckerList is what the API server answers a list with.
//
// +kubebuilder:object:root=true
type ServiceCheckerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServiceChecker `json:"items"`
}
