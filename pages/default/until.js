(function(){
var at=document.getElementById("until"),end=new Date(at.getAttribute("datetime")),lang=document.documentElement.lang;
function show(){
var now=new Date(),today=end.toDateString()===now.toDateString();
if(now-end>6e4)at.parentNode.hidden=true;
try{at.textContent=today?end.toLocaleTimeString(lang,{hour:"numeric",minute:"2-digit"}):end.toLocaleString(lang,{year:"numeric",month:"long",day:"numeric",hour:"numeric",minute:"2-digit"})}catch(e){}
}
show();
setInterval(show,6e4)
})()
