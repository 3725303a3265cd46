package page

import "strconv"

// MaxDoors bounds the doors of a page set: the last has a name of two digits, or the
// name of its port would be longer than the API allows (15 characters).
const MaxDoors = 99

// doorBase is where the ports of doors begin. None of them is 443, to which Traefik
// would speak TLS.
const doorBase = 8100

// DoorPort is the port of the n-th door, from 1 to MaxDoors: of the page Pods, and of the
// page set's Service.
func DoorPort(n int) int { return doorBase + n }

// DoorName is the n-th door's in the settings of a page set: d1.
func DoorName(n int) string { return "d" + strconv.Itoa(n) }

// DoorPortName is the name of its port in a page Pod.
func DoorPortName(n int) string { return "maintenance-" + DoorName(n) }

// DoorServicePortName is the name of its port in the page set's Service. One that began
// with https would make Traefik speak TLS.
func DoorServicePortName(n int) string { return ServicePortName + "-" + DoorName(n) }
